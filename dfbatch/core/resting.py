"""Work that rests because a dependency does: a worker gets none of it while its circuit breaker is open.

When the breaker turns half open the worker gets as many jobs as there are probes, and
nothing ahead of their outcome. A batch whose every worker is in that state is stalled.
"""

from __future__ import annotations

from collections.abc import Iterator

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN, BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.effects import Effect, WorkAvailable
from dfbatch.core.events import BreakersSeen
from dfbatch.core.instant import Instant
from dfbatch.core.states import WorkerState

_NO_LIMIT = 1 << 40


def on_breakers(books: Books, event: BreakersSeen, now: Instant) -> list[Effect]:
    """Take note; if one does not rest any more, there is work for the worker."""
    worker = books.workers.get(event.worker)
    if worker is None:
        return []
    before = {(b.verifier, b.name) for b in worker.breakers if _blocks(b)}
    worker.breakers = event.breakers
    after = {(b.verifier, b.name) for b in event.breakers if _blocks(b)}
    return [WorkAvailable()] if before - after else []


def rests(books: Books, worker: Worker, batch: Batch, now: Instant) -> bool:
    """True if the worker should be given nothing of the batch now: it rests, or what it holds is its probe."""
    return any(now.mono < b.retry_at or _is_probed(books, worker, b) for b in _blocking(worker, batch))


def _is_probed(books: Books, worker: Worker, breaker: BreakerSeen) -> bool:
    return any(books.batches[x.batch_id].spec.verifier == breaker.verifier for x in worker.leases.values())


def probe_room(worker: Worker, batch: Batch) -> int:
    """Jobs that the worker may get in one chunk, as far as its breakers are concerned."""
    return min((b.probes for b in _blocking(worker, batch)), default=_NO_LIMIT)


def all_rest(books: Books, batch: Batch) -> str | None:
    """Why no worker can get on with the batch, if breakers are the reason."""
    if not any(worker.breakers for worker in books.workers.values()):
        return None
    workers = [w for w in books.live_workers(batch.spec.shape) if w.queues is None or batch.spec.queue in w.queues]
    blocking = [next(_blocking(worker, batch), None) for worker in workers]
    found = [breaker for breaker in blocking if breaker is not None]
    if not found or len(found) < len(workers):
        return None
    error = next((breaker.last_error for breaker in found if breaker.last_error), "")
    told = f". The last error: {error}" if error else ""
    return _reason(sorted({breaker.name for breaker in found}), len(workers)) + told


def _reason(names: list[str], n_workers: int) -> str:
    where = "the worker" if n_workers == 1 else f"all {n_workers} workers"
    if names == [CONSTRUCTION]:
        return f"the verifier cannot be constructed on {where}; it is tried again from time to time"
    if names == [OWN]:
        return f"nearly every item ran out of memory or time on {where}; a few are tried from time to time"
    shown = " and ".join(f"'{name}'" for name in names)
    return f"the dependency {shown} does not answer: its circuit breaker is open on {where}; it goes on by itself"


def state_of(worker: Worker) -> WorkerState:
    """The state as observers see it: a worker that has nothing to do because its work rests says so."""
    idle = worker.state is WorkerState.IDLE
    return WorkerState.BREAKER_OPEN if idle and any(map(_blocks, worker.breakers)) else worker.state


def _blocking(worker: Worker, batch: Batch) -> Iterator[BreakerSeen]:
    for breaker in worker.breakers:
        # A batch that never succeeded anywhere does not wait: its verifier may be at fault, and then it is stopped.
        counts = breaker.name != CONSTRUCTION or batch.n_success_ever > 0
        if counts and breaker.verifier == batch.spec.verifier and _blocks(breaker):
            yield breaker


def _blocks(breaker: BreakerSeen) -> bool:
    return breaker.blocks and breaker.state is not BreakerState.CLOSED
