"""The client: one way in for notebooks, scripts and the command line."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa

from dfbatch.actors.link import ManagerLink
from dfbatch.client.batch import Batch
from dfbatch.client.breaker import Breaker
from dfbatch.client.connecting import Connected, reach
from dfbatch.client.health import Health, health
from dfbatch.client.html_text import facts_line
from dfbatch.client.job import Job
from dfbatch.client.ledger_progress import batch_row
from dfbatch.client.metrics import metrics, workers
from dfbatch.client.options import queue_name, submit_options
from dfbatch.client.queue import Queue
from dfbatch.client.session import Session
from dfbatch.client.submitting import submit
from dfbatch.config import Settings, resolve
from dfbatch.core.ids import parse_id
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.errors import DfbatchError, DifferentConnection, InvalidInput, TimeoutError, UnknownId
from dfbatch.ledger.lock import is_locked_elsewhere
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import Storage

VERIFY_TIMEOUT_S = 300.0
_LOOK_S = 0.1
_connections: dict[str, tuple[dict[str, Any], Client]] = {}
"""The open client of this process, under one key: connecting twice gives the same one."""
_connecting = threading.Lock()


def connect(
    address: str | None = None,
    storage_path: str | os.PathLike[str] | None = None,
    namespace: str | None = None,
    workers: int | tuple[int, int] | None = None,
    resume: bool = False,
) -> Client:
    """Connect to a ledger and start, or find, its manager.

    ``address``: None is a Ray that this process has, else RAY_ADDRESS, else a private
    local Ray. ``storage_path``: None is DFBATCH_STORAGE_PATH, else ~/dfbatch_results.
    ``workers``: a number or (min, max). ``resume`` goes on with batches that the end
    of an earlier kernel interrupted. The same arguments give the same client.

    Raises ClusterUnreachable, StorageUnusable, DifferentConnection, InvalidInput. A
    ledger that another process manages gives a read-only client, with a warning.
    """
    settings = resolve(storage_path=storage_path, namespace=namespace, workers=workers, address=address)
    given = {"address": address, "storage_path": storage_path, "namespace": namespace, "workers": workers}
    with _connecting:
        open_one = _connections.get("")
        if open_one is not None and not open_one[1].closed and not open_one[1].may_write_now():
            _check_same(open_one[0], _comparable(settings), [name for name in given if given[name] is not None])
            return open_one[1]
        client = _open(settings, resume)
        _connections[""] = (_comparable(settings), client)
        return client


def _comparable(settings: Settings) -> dict[str, Any]:
    path = settings.storage_path
    return {
        "address": settings.address,
        "storage_path": path if "://" in path else os.path.abspath(os.path.expanduser(path)),
        "namespace": settings.namespace,
        "workers": settings.workers,
    }


def _open(settings: Settings, resume: bool) -> Client:
    connected = reach(settings, resume)
    return Client(connected.link, connected.storage, mode=connected.mode, connected=connected, settings=settings)


def _check_same(have: dict[str, Any], asked: dict[str, Any], given: list[str]) -> None:
    """What is not given fits any client."""
    for name in given:
        if have[name] != asked[name]:
            raise DifferentConnection(
                f"A client with {name}={have[name]!r} is open in this process, and {asked[name]!r} was asked for. "
                f"Close it first with client.close(), or leave {name} out."
            )


def _as_it_is_now(row: dict[str, Any], live: ProgressSnapshot | None) -> dict[str, Any]:
    """The row of a batch in the ledger, which hears of the end of a batch a moment after the manager."""
    if live is None:
        return row
    ended = live.status.is_terminal and row["finished_at"] is None
    finished_at = row["submitted_at"] + timedelta(seconds=live.elapsed_s) if ended else row["finished_at"]
    return {**row, "status": live.status.value, "finished_at": finished_at if live.status.is_terminal else None}


class Client:
    """Submit, watch and analyse. ``with dfbatch.connect() as client`` closes it at the end."""

    def __init__(
        self,
        link: ManagerLink | None,
        storage: Storage,
        *,
        mode: str,
        connected: Connected | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._mode = mode
        self._connected = connected
        self._settings = settings
        self._session = Session(
            link,
            storage,
            LedgerReader(storage),
            settings.progress if settings else "off",
            connected.held_by if connected else "",
        )
        if mode == "embedded":
            atexit.register(self.close)

    @property
    def storage_path(self) -> str:
        """Where the ledger is: a folder, or a URI without its parameters."""
        return self._session.storage.root

    @property
    def read_only(self) -> bool:
        """True if another process manages the ledger."""
        return self._session.link is None

    def may_write_now(self) -> bool:
        """True for a read-only client whose ledger nobody manages any more: connect again to manage it."""
        return self.read_only and not is_locked_elsewhere(self._session.storage)

    @property
    def closed(self) -> bool:
        return self._session.closed

    # ------------------------------------------------------------------------------------- submit

    def verify(
        self,
        source: Any,
        name: str | None = None,
        profile: str = "fast",
        *,
        trust_list: str | os.PathLike[str] | None = None,
        limits: Any = None,
        **options: Any,
    ) -> Batch:
        """Verify the authenticity of media; returns at once.

        ``source``: a path, folder, glob, URI prefix, bytes, picture or array; a list of
        these; a table with a ``uri`` or ``content`` column; a Ray Dataset, iterator or
        queue. ``trust_list``: PEM file with the certificates you trust. ``limits``: a
        MediaLimits. ``options``: queue, priority, key, timeout_s, deadline_s, delay_s,
        retry, max_failure_ratio, fail_fast, tags, reuse ("never", or "content": what was
        verified before, in this batch or another, is not verified again). Raises InvalidInput, QueueFull, KeyConflict.
        """
        from dfbatch.actors.verifier_code import pack
        from dfbatch.authenticity.authenticator import ContentAuthenticator
        from dfbatch.client.media_sources import media_payload

        asked = submit_options(
            options,
            name=name,
            default_queue="verification",
            default_timeout_s=self._timeout_s(VERIFY_TIMEOUT_S),
        )
        init: dict[str, Any] = {"profile": profile, "limits": limits}
        if trust_list is not None:
            init["trust_list"] = os.path.abspath(os.path.expanduser(os.fspath(trust_list)))
        # A wrong profile or trust list is said here, not a thousand times by workers.
        says = ContentAuthenticator(**init).fingerprint
        packed = pack(ContentAuthenticator, init)
        both = hashlib.sha256(f"{packed.fingerprint} {says}".encode()).hexdigest()[:16]
        return submit(self._session, "verify", replace(packed, fingerprint=both), media_payload(source), asked)

    def map(
        self,
        verifier: Any,
        items: Any,
        init: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> Batch:
        """Run ``verifier`` over ``items``; returns at once. See the README for what both may be.

        Raises InvalidInput and InvalidType at the call, QueueFull, KeyConflict.
        """
        from dfbatch.actors.verifier_code import pack
        from dfbatch.client.item_sources import item_payload

        asked = submit_options(options, name=name, default_queue="default", default_timeout_s=self._timeout_s(None))
        packed = pack(verifier, init)
        return submit(self._session, "map", packed, item_payload(items, packed.vectorised), asked)

    def submit(
        self,
        verifier: Any,
        item: Any,
        init: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> Job:
        """Run ``verifier`` on one item; a future."""
        return self.map(verifier, [item], init, name=name, **options)[0]

    def _timeout_s(self, default: float | None) -> float | None:
        given = self._settings.timeout_s if self._settings else None
        return default if given is None else given

    # ---------------------------------------------------------------------------------------- find

    def attach(self, id: str) -> Batch | Job:
        """The batch or job of an id, from any process. Raises UnknownId, InvalidInput."""
        self._session.check_open()
        batch_id, index = parse_id(id)
        batch_row(self._session.reader, batch_id)
        batch = Batch(self._session, batch_id)
        if index is None:
            return batch
        snapshot = batch.progress()
        n_jobs = sum(snapshot.counts.values()) if snapshot.total is None else snapshot.total
        if index >= n_jobs:
            raise UnknownId(f"Batch {batch_id} has {n_jobs:,} jobs; there is no job '{batch_id}-{index}'.")
        return Job(self._session, batch_id, index)

    def last(self) -> Batch:
        """The batch that was submitted last. Raises UnknownId if there is none."""
        self._session.check_open()
        table = self._session.reader.batches()
        if not len(table):
            raise UnknownId(f"The ledger under {self.storage_path} has no batch yet.")
        return Batch(self._session, table.column("batch_id")[-1].as_py())

    def batches(self) -> pa.Table:
        """All batches, oldest first: id, name, state, number of jobs, times."""
        self._session.check_open()
        table = self._session.reader.batches()
        rows = [_as_it_is_now(row, live) for row, live in self._with_live(table.to_pylist())]
        table = pa.Table.from_pylist(rows, schema=table.schema)
        shown = ["batch_id", "name", "status", "n_jobs", "submitted_at", "finished_at", "queue", "priority", "kind"]
        return table.select([*shown, "verifier_name"])

    def _with_live(self, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], ProgressSnapshot | None]]:
        active: list[ProgressSnapshot] = [] if self._session.link is None else self._session.call("active")
        live = {snapshot.batch_id: snapshot for snapshot in active}
        return ((row, live.get(row["batch_id"])) for row in rows)

    def queue(self, name: str) -> Queue:
        """The queue of this name, whether it is in use yet or not. Raises InvalidInput for no name at all."""
        return Queue(self._session, queue_name(name))

    def breaker(self, name: str) -> Breaker:
        """The circuit breakers of a dependency on all workers: ``force_open()``, ``reset()``, ``state``."""
        return Breaker(self._session, name)

    def queues(self) -> list[Queue]:
        """Every queue that has, or had, work or a policy, by name."""
        return [Queue(self._session, q["queue"]) for q in self._session.call("queues")]

    def workers(self) -> list[dict[str, Any]]:
        """Each worker: ``worker, state, current_job`` and ``current_since, rate_per_s, breakers, memory_bytes``, ...

        ``idle_but_backlog`` is True if it has been idle for seconds though jobs that it may take are queued.
        """
        return workers(self._session)

    def metrics(self, since: Any = None) -> pa.Table:
        """A row each 5 s and queue: jobs by state, rates, latencies, workers, breakers; ``at`` is its time.

        ``since``: an aware datetime, a timedelta, or seconds before now; None is all that is kept (a week). Samples are
        left out while nothing changes; the last rows are of this moment. Raises InvalidInput.
        """
        return metrics(self._session, since)

    def health(self) -> Health:
        """How the manager does: ``ok``, ``problems`` (sentences), and facts by name. See ``dfbatch.Health``."""
        return health(self._session)

    def scale(self, min: int, max: int) -> None:
        """Set the least and greatest number of workers, until ``connect()`` creates the manager anew; restarts obey."""
        if not 0 <= min <= max or max < 1:
            raise InvalidInput("scale", f"({min}, {max}) is no range of workers", "Give 0 <= min <= max, max >= 1")
        self._session.call("scale", min, max)

    def drain(self, timeout: float | None = None) -> None:
        """Let every worker finish the item at hand, hand the rest back and leave; returns when none is left.

        Nothing is lost or repeated; what is queued waits, and ``scale(min, max)`` starts workers again. Processes of
        ``dfbatch worker`` end, too. Raises dfbatch.TimeoutError after ``timeout`` seconds; the drain goes on then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._session.call("drain")
        while left := [worker["worker"] for worker in self.workers()]:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{len(left)} workers are not drained after {timeout:g} s: {', '.join(left[:5])}.")
            time.sleep(_LOOK_S)

    # --------------------------------------------------------------------------------------- leave

    def close(self) -> None:
        """Let go. On a cluster the work goes on; an embedded manager ends, its open batches wait in the ledger."""
        if self._session.closed:
            return
        connected = self._connected
        if connected is not None and connected.mode == "embedded":
            self._end_manager(connected)
        self._session.closed = True
        if connected is not None and connected.ray is not None:
            connected.ray.close()
        atexit.unregister(self.close)

    def shutdown(self) -> None:
        """End the manager and its workers, also on a cluster; open batches wait in the ledger for the next one."""
        connected = self._connected
        if connected is not None and not self._session.closed and connected.link is not None:
            self._end_manager(connected)
        self.close()

    def _end_manager(self, connected: Connected) -> None:
        from dfbatch.actors import cluster

        with contextlib.suppress(DfbatchError):
            cluster.end_manager(connected.link, connected.actor_name, connected.namespace)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dfbatch.Client {self._state()}, ledger {self.storage_path}>"

    def _repr_html_(self) -> str:
        return facts_line("dfbatch client", {"state": self._state(), "ledger": self.storage_path})

    def _state(self) -> str:
        """Asks nobody: a handle must be free to show itself while the manager is busy, or gone."""
        if self.closed:
            return "closed"
        return f"{self._mode.replace('_', '-')}, read-only" if self.read_only else self._mode.replace("_", "-")
