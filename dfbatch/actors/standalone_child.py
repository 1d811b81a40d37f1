"""One process of ``dfbatch worker``: connects to Ray as a driver and runs one ``Worker``.

The position mark, the time limit and a crash are matters of a whole process, so each worker has its own. Its parent
writes words on its standard input, ``drain`` and ``now``, and reads a line of JSON a second: a ``Pulse``. An end of
the input means that the parent is gone, and drains too.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from dfbatch.actors.log_format import log_handler
from dfbatch.actors.standalone_plan import COULD_NOT_RUN, CRASHED, LEFT, PULSE_S, RENEWED, ChildPlan, Pulse
from dfbatch.errors import DfbatchError, InvalidInput, ManagerUnavailable, VersionMismatch
from dfbatch.version import __version__

if TYPE_CHECKING:
    from dfbatch.actors.position_mark import PositionMark
    from dfbatch.actors.ray_link import RayLink
    from dfbatch.actors.worker import Worker

NAME_PATIENCE_S = 15.0
"""A predecessor of the same name gets so long to end."""
HAND_BACK_S = 4.0
EXIT_S = 3.0
"""An orderly end of the interpreter may take so long; threads of a verifier could hold it for ever."""
_logger = logging.getLogger("dfbatch.worker")


def main() -> int:
    """Run what the first argument says. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to pass on
    plan = ChildPlan(**json.loads(sys.argv[1]))
    logging.basicConfig(level=plan.log_level, handlers=[log_handler(plan.log_format)])
    child = StandaloneChild(plan, _take_stdin(), os.fdopen(plan.report_fd, "w", buffering=1))
    try:
        code = child.run()
    except DfbatchError as error:
        child.tell(Pulse("stopped", error=str(error)))
        code = COULD_NOT_RUN
    threading.Thread(target=_exit_soon, args=(code,), daemon=True).start()
    return code


def _take_stdin() -> int:
    """The parent's words come by another descriptor: verifiers, and programs they start, read nothing."""
    control = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return control


def _exit_soon(code: int) -> None:
    time.sleep(EXIT_S)
    os._exit(code)


class StandaloneChild:
    """The main thread listens to the parent and tells how the worker is; the worker runs in another one."""

    def __init__(self, plan: ChildPlan, control: int, report: TextIO) -> None:
        self._plan = plan
        self._control = control
        self._report = report
        os.set_inheritable(report.fileno(), False)
        self._signalled, self._signal = os.pipe()
        self._sources = [control, self._signalled]
        self._words = b""
        self._ends_at: float | None = None

    def run(self) -> int:
        """Returns the exit code. Raises DfbatchError if there is nothing to join."""
        self.tell(Pulse("starting"))
        link = self._join_manager()
        # Ray took the signal for itself when it started.
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._signal, b"drain\n"))
        with _name_held(self._plan), _mark(self._plan) as (mark, stack_file):
            worker = self._make(link, mark, stack_file)
            thread = threading.Thread(target=_work, args=(worker,), name="dfbatch-worker", daemon=True)
            thread.start()
            while thread.is_alive():
                self._listen(worker, PULSE_S / 4)
                self._tell_how(worker)
            code = self._ended(worker)
            if code == LEFT:
                mark.remove()  # nobody will take over what one that was to be renewed has left
        return code

    def tell(self, pulse: Pulse) -> None:
        """A line to the parent; the end of one that is gone is noticed elsewhere."""
        with contextlib.suppress(BrokenPipeError):
            self._report.write(json.dumps(asdict(pulse)) + "\n")

    # ------------------------------------------------------------------------------------- begin

    def _join_manager(self) -> RayLink:
        """Connect to Ray and find the manager. Raises ClusterUnreachable, ManagerUnavailable, VersionMismatch."""
        from dfbatch.actors import cluster
        from dfbatch.actors.link import patiently
        from dfbatch.actors.ray_compat import silence_raylet
        from dfbatch.actors.ray_link import RayLink

        plan = self._plan
        cluster.reach(plan.address)
        silence_raylet()
        name = cluster.manager_name(plan.storage_path)
        if cluster.find_manager(name, plan.namespace) is None:
            raise ManagerUnavailable(
                f"No manager of the ledger under {plan.storage_path} runs in namespace '{plan.namespace}' of the Ray "
                f"cluster at {plan.address}. Start one with dfbatch.connect(address=..., storage_path=...), or correct "
                f"--storage, --namespace and --address."
            )
        link = RayLink(name, plan.namespace)
        found = patiently(lambda: link.call("describe"))
        if found.version != __version__:
            raise VersionMismatch(
                f"The manager runs dfbatch {found.version}, this worker {__version__}. Install the same in both."
            )
        return link

    def _make(self, link: RayLink, mark: PositionMark, stack_file: TextIO) -> Worker:
        import ray

        from dfbatch.actors.link import LinkedManager
        from dfbatch.actors.memory_limit import MemoryLimit
        from dfbatch.actors.position_mark import marks_folder
        from dfbatch.actors.verifier_store import VerifierStore
        from dfbatch.actors.worker import Worker
        from dfbatch.actors.worker_log import speak_of_jobs
        from dfbatch.ledger.storage import open_storage

        plan = self._plan
        worker = Worker(
            plan.name,
            LinkedManager(link),
            VerifierStore(open_storage(plan.storage_path)),
            mark,
            shape=plan.shape,
            queues=None if plan.queues is None else tuple(plan.queues),
            node=ray.get_runtime_context().get_node_id()[:12],
            idle_s=plan.idle_s,
            stack_file=stack_file,
            memory=MemoryLimit(marks_folder(plan.namespace), plan.name),
        )
        speak_of_jobs(plan.name, worker.context, log_handler(plan.log_format), plan.log_level)
        return worker

    # -------------------------------------------------------------------------------------- watch

    def _listen(self, worker: Worker, wait_s: float) -> None:
        """Obey what the parent, or a signal, says."""
        heard, _, _ = select.select(self._sources, [], [], wait_s)
        for source in heard:
            words = os.read(source, 4096)
            if not words:
                self._sources.remove(source)
                grace_s = self._plan.grace_s
                _logger.warning("The parent of worker %s is gone: draining, at most %g s", self._plan.name, grace_s)
                words = b"drain\n"
            self._words += words
        *lines, self._words = self._words.split(b"\n")
        if b"now" in lines or (self._ends_at is not None and time.monotonic() > self._ends_at):
            self._leave_now(worker)
        elif b"drain" in lines:
            worker.stop()
            self._ends_at = self._ends_at or time.monotonic() + self._plan.grace_s

    def _leave_now(self, worker: Worker) -> None:
        """Give everything back if the manager answers quickly; else its leases expire. Ends the process."""
        hand_back = threading.Thread(target=worker.leave_now, daemon=True)
        hand_back.start()
        hand_back.join(HAND_BACK_S)
        self.tell(Pulse("stopped", handed_back=not hand_back.is_alive()))
        os._exit(LEFT)

    def _tell_how(self, worker: Worker) -> None:
        vitals, now = worker.vitals(), time.monotonic()
        self.tell(Pulse(vitals.state, vitals.is_live(now), vitals.is_ready(now), vitals.job))

    def _ended(self, worker: Worker) -> int:
        if worker.failed:
            return CRASHED
        if worker.patience.is_over:
            raise ManagerUnavailable("The manager stayed away for too long, so the worker has left.")
        self.tell(Pulse("stopped"))
        return RENEWED if worker.renewal is not None and self._ends_at is None else LEFT


def _work(worker: Worker) -> None:
    try:
        worker.run()
    except Exception:
        _logger.exception("Worker %s failed", worker.name)
        worker.failed = True


@contextlib.contextmanager
def _mark(plan: ChildPlan) -> Iterator[tuple[PositionMark, TextIO]]:
    """The worker's position mark, and the file for the stack of a crash or a time limit."""
    from dfbatch.actors.position_mark import PositionMark, marks_folder

    mark = PositionMark(marks_folder(plan.namespace), plan.name)
    with open(mark.stack_path, "a+") as stack_file:
        faulthandler.enable(stack_file)
        yield mark, stack_file
        faulthandler.disable()


@contextlib.contextmanager
def _name_held(plan: ChildPlan) -> Iterator[None]:
    """Two processes of one name would drive each other out. Raises InvalidInput if another one keeps it."""
    from dfbatch.actors.position_mark import marks_folder

    if not plan.is_named:
        yield
        return
    with open(marks_folder(plan.namespace) / f"{plan.name}.lock", "w") as file:
        until = time.monotonic() + NAME_PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    problem = f"a worker '{plan.name}' runs on this machine already"
                    raise InvalidInput("--name", problem, "Give another name, or end that one") from None
                time.sleep(0.05)
        yield


if __name__ == "__main__":
    sys.exit(main())
