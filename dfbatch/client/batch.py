"""The handle of a batch: a future over many jobs."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.client.dead_letters import DeadLetters, of_batch
from dfbatch.client.displays.card import batch_card
from dfbatch.client.displays.choice import default_display
from dfbatch.client.displays.live_card import LiveCard
from dfbatch.client.displays.wording import one_line
from dfbatch.client.ledger_progress import batch_row
from dfbatch.client.progress_display import watch
from dfbatch.client.report import write_report
from dfbatch.client.results import Results
from dfbatch.client.session import Session
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState
from dfbatch.errors import BatchFailed, DfbatchError, InvalidInput, TimeoutError
from dfbatch.version import __version__

if TYPE_CHECKING:
    from dfbatch.client.job import Job

_STREAM_POLL_S = 0.2


class Batch:
    """1..N jobs under one id. Holds the id only: it stays usable after a restart of the manager or of the kernel.

    ``await batch`` is ``batch.results()``.
    """

    def __init__(self, session: Session, batch_id: str, n_jobs: int | None = None) -> None:
        self._session = session
        self._id = batch_id
        self._n_jobs = n_jobs

    # --------------------------------------------------------------------------------- what it is

    @property
    def id(self) -> str:
        """Eight letters, such as ``k3f2m9qx``; ids sort by the time of their submit."""
        return self._id

    @property
    def name(self) -> str | None:
        """The name given at the submit, or None."""
        return self.progress().name

    @property
    def status(self) -> BatchState:
        """The state now; a terminal one once every outcome is durable."""
        return self.progress().status

    @property
    def storage_path(self) -> str:
        """Where the ledger is that holds this batch."""
        return self._session.storage.root

    def progress(self) -> ProgressSnapshot:
        """The batch at this moment."""
        return self._session.progress(self._id)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return dict(self.progress().counts)

    def done(self) -> bool:
        """True if the batch has ended, however it ended."""
        return self.status.is_terminal

    def running(self) -> bool:
        """True if jobs of it are under work now."""
        return self.status is BatchState.RUNNING

    def cancelled(self) -> bool:
        """True if it ended because it was cancelled."""
        return self.status is BatchState.CANCELLED

    def __len__(self) -> int:
        if self._n_jobs is None:
            total = self.progress().total
            if total is None:
                raise TypeError(f"Batch {self._id} is still being streamed in; its length is not known yet.")
            self._n_jobs = total
        return self._n_jobs

    def __getitem__(self, index: int) -> Job:
        from dfbatch.client.job import Job

        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"Batch {self._id} has {n:,} jobs; there is no job {index}.")
        return Job(self._session, self._id, index % n, is_alone=n == 1)

    def __iter__(self) -> Iterator[Job]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    # ------------------------------------------------------------------------------------ waiting

    def wait(self, timeout: float | None = None) -> Batch:
        """Wait for the end, with progress shown; never raises a job's error.

        Raises dfbatch.TimeoutError after ``timeout`` seconds; the work goes on. An
        interrupt (Ctrl-C, the stop button) ends the waiting, not the work.
        """
        end = self.progress()
        if not end.status.is_terminal:
            display = default_display(self._session.progress_mode)
            end = watch(lambda wait_s: self._session.progress(self._id, wait_s), display, timeout)
        if not end.status.is_terminal:
            raise TimeoutError(
                f"Batch {self._id} is {end.status} with {end.done:,} of {end.total or 0:,} jobs done after "
                f"{timeout:g} s. It goes on; wait again, or see batch.results(partial=True)."
            )
        return self

    def results(self, timeout: float | None = None, partial: bool = False) -> Results:
        """All outcomes, a row a job, in the order of the items. Waits for the end unless ``partial``."""
        if not partial:
            self.wait(timeout)
        self._session.check_open()
        return Results(self._session.reader.results(self._id), read=self._session.read_file)

    def iter_results(self) -> Iterator[dict[str, Any]]:
        """Outcomes as dicts while the batch runs, in the order they became durable; ends with the batch."""
        version = -1
        seen = np.zeros(0, np.bool_)
        while True:
            ended = self.done()
            version, tables = self._session.reader.tail("results", version, batch_id=self._id)
            for table in tables:
                seen, fresh = _unseen(table, seen)
                if len(fresh):
                    yield from self._session.reader.joined(fresh, self._id).to_pylist()
            if ended:
                return
            self._session.progress(self._id, _STREAM_POLL_S)

    def failures(self) -> Results:
        """The failed and expired rows, as committed until now."""
        return self.results(partial=True).failures()

    def dead_letters(self) -> DeadLetters:
        """Failed and expired rows that can be run again: not redriven, not purged. ``.story(i)`` tells every try."""
        return of_batch(self._session, self._id)

    def raise_for_failures(self) -> Batch:
        """Wait; raise BatchFailed if any job did not succeed."""
        self.wait()
        failures = self.failures()
        if len(failures):
            first = failures[0]
            text = f"{first['job_id']}: {first['error_type']}: {first['error_message']}"
            raise BatchFailed(self._id, len(failures), len(self), text)
        return self

    def add_done_callback(self, callback: Callable[[Batch], Any]) -> None:
        """Call ``callback(batch)`` from another thread when the batch has ended."""

        def follow() -> None:
            while not self._session.progress(self._id, 5.0).status.is_terminal:
                pass
            callback(self)

        threading.Thread(target=follow, name=f"dfbatch-callback-{self._id}", daemon=True).start()

    def __await__(self) -> Generator[Any, None, Results]:
        return asyncio.get_running_loop().run_in_executor(None, self.results).__await__()

    # ------------------------------------------------------------------------------------ control

    def pause(self) -> Batch:
        """Lease nothing more until ``resume()``."""
        self._session.call("pause", self._id)
        return self

    def resume(self) -> Batch:
        """Go on after ``pause()`` or an interruption; returns the batch."""
        self._session.call("resume", self._id)
        return self

    def cancel(self) -> Batch:
        """Jobs without an outcome become ``cancelled``; those under work may still end with theirs."""
        self._session.call("cancel", self._id)
        return self

    def set_priority(self, priority: int) -> Batch:
        """Greater runs sooner, from the next chunk on."""
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidInput("priority", f"{priority!r} is no whole number")
        self._session.call("set_priority", self._id, priority)
        return self

    def retry_failed(self, where: Any = None) -> int:
        """Run failed, expired and cancelled jobs again; returns how many. Their first story is kept.

        ``where`` chooses among the failed rows as ``Results.filter`` does: an Arrow
        expression, a mask, or a function of the row.
        """
        indices = None
        if where is not None:
            table = self.results(partial=True).to_arrow()
            again = pc.is_in(table.column("status"), pa.array(["failed", "expired", "cancelled"]))
            chosen = Results(table.filter(again)).filter(where)
            indices = chosen.to_arrow().column("job_index").to_numpy()
        return int(self._session.call("redrive", self._id, indices, secrets.token_hex(16)))

    # -------------------------------------------------------------------------------------- faces

    def show(self) -> LiveCard:
        """A card that follows the batch while the notebook goes on."""
        return LiveCard(lambda wait_s: self._session.progress(self._id, wait_s)).start()

    def report(self, path: str | os.PathLike[str]) -> str:
        """Write a self-contained HTML report of what is committed; returns its full path."""
        results = self.results(partial=True)
        return write_report(results, path, title=self.name, batch_info=self._about(), read=self._session.read_file)

    def _about(self) -> dict[str, Any]:
        row = batch_row(self._session.reader, self._id)
        now = self.progress()  # the manager knows of an end a moment before the ledger does
        ended = now.status.is_terminal
        return {
            "Batch": self._id,
            "State": now.status.value,
            "Items": now.total,
            "Submitted": row["submitted_at"],
            "Finished": row["submitted_at"] + timedelta(seconds=now.elapsed_s) if ended else None,
            "Verifier": row["verifier_name"],
            "Verifier fingerprint": row["verifier_fingerprint"],
            "dfbatch": __version__,
            "Ledger": self.storage_path,
        }

    def __repr__(self) -> str:
        try:
            return f"<Batch {one_line(self.progress())}>"
        except DfbatchError as error:
            return f"<Batch {self._id}: {error}>"

    def _repr_html_(self) -> str:
        return batch_card(self.progress(), live=False)


def _unseen(table: pa.Table, seen: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], pa.Table]:
    """Rows of jobs not handed out yet: a log that was rewritten shows rows again."""
    index = table.column("job_index").to_numpy()
    if len(index) and int(index.max()) >= len(seen):
        seen = np.concatenate([seen, np.zeros(int(index.max()) + 1 - len(seen), np.bool_)])
    fresh = ~seen[index]
    seen[index] = True
    return seen, table if fresh.all() else table.filter(pa.array(fresh))
