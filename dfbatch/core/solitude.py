"""A node to itself: where a whole node ran out of memory, the suspect runs with no other lease on that node.

The worker that ran at the marked job may have been the victim of its neighbours, and the
job would take them along again. So such a suspect is leased where nobody else on the node
holds a lease, and nobody there gets one before it is through, or ``LONE_TERM_S`` have passed.
If the node is not empty at its turn, its batch claims it: nobody there gets a lease until the
suspect has it, or until ``NODE_PATIENCE_S`` have passed; then it runs alone on its worker, as
other suspects do. Other nodes go on. The next manager knows nothing of this: there they are
suspects like others, until their node runs out of memory again.
"""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.effects import Effect
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Claim, Lease
from dfbatch.core.ready import Indices
from dfbatch.core.recalls import ask_to_yield, may_be_cut
from dfbatch.core.states import JobState

NODE_PATIENCE_S = 30.0
"""So long a node gets no new leases while a suspect waits for the running ones to end."""
LONE_TERM_S = 600.0
"""So long a suspect has its node to itself; an item without a time limit might hang there for ever."""


def may_run(books: Books, worker: Worker, batch: Batch, now: Instant) -> bool:
    """False if the worker's node is kept for another, or if all that is ready of the batch waits for a node.

    True for a batch that is yet to claim the node: it has to come to its turn for that.
    """
    if not (books.lone or books.claims):
        return True
    if is_taken(books, worker, now):
        return False
    claimant = claimed_by(books, worker.node, now)
    if claimant is not None:
        return claimant == batch.batch_id and not worker.leases and _is_alone(books, worker)
    return bool(batch.ready) or not waits(books, worker, batch, now)


def is_taken(books: Books, worker: Worker, now: Instant) -> bool:
    """True if another worker of the node runs a suspect that has the node to itself."""
    lease = books.lone.get(worker.node)
    return lease is not None and lease.worker != worker.name and now.mono - lease.granted_at < LONE_TERM_S


def claimed_by(books: Books, node: str, now: Instant) -> str | None:
    """The batch whose next suspects wait for the node, or None."""
    for batch_id, claim in books.claims.items():
        if claim.node == node and now.mono < claim.until:
            batch = books.batches[batch_id]
            if needs_node(batch, _first(batch)):
                return batch_id
    return None


def waits(books: Books, worker: Worker, batch: Batch, now: Instant) -> bool:
    """True if the next suspects of the batch wait for a node, and the worker's is not empty but for itself."""
    claim = books.claims.get(batch.batch_id)
    if claim is None or now.mono >= claim.until or not worker.node:
        return False
    return needs_node(batch, _first(batch)) and not _is_alone(books, worker)


def next_suspects(books: Books, worker: Worker, batch: Batch, room: int, now: Instant) -> Indices:
    """The next suspects for a worker that holds nothing. None if there are none, or if they wait for a node."""
    while batch.suspects:
        group = _queued(batch, batch.suspects[0])
        if len(group) and _must_wait(books, worker, batch, group, now):
            break
        batch.suspects.popleft()
        if len(group) > room:
            batch.suspects.appendleft(group[room:])
        if len(group):
            return np.asarray(group[:room])
    return np.empty(0, np.int64)


def keep_node(books: Books, worker: Worker, lease: Lease) -> None:
    """The suspects of a new lease have their node to themselves, if they need one and it is empty."""
    if needs_node(books.batches[lease.batch_id], lease.indices):
        books.claims.pop(lease.batch_id, None)  # those after them have a wait of their own
        if worker.node and _is_alone(books, worker):
            books.lone[worker.node] = lease


def clear_node(books: Books, node: str, now: Instant) -> list[Effect]:
    """For a claim, those at work on the node are asked to hand back what is not begun. Nobody is asked twice."""
    effects: list[Effect] = []
    if claimed_by(books, node, now) is None:
        return effects
    for worker in books.workers.values():
        leases = [lease for lease in worker.leases.values() if may_be_cut(books, lease)]
        if worker.node == node and worker.lost_at is None and leases:
            effects.append(ask_to_yield(worker, leases, now))
    return effects


def needs_node(batch: Batch, jobs: Indices) -> bool:
    """True if one of the jobs may have used up the memory of a node."""
    return bool(len(batch.of_node)) and bool(np.isin(jobs, batch.of_node).any())


def _must_wait(books: Books, worker: Worker, batch: Batch, group: Indices, now: Instant) -> bool:
    """True if the group needs an empty node and this is none. The first time its batch claims this one."""
    if not worker.node or not needs_node(batch, group) or _is_alone(books, worker):
        return False
    claim = books.claims.setdefault(batch.batch_id, Claim(worker.node, now.mono + NODE_PATIENCE_S))
    return now.mono < claim.until


def _is_alone(books: Books, worker: Worker) -> bool:
    """True if nobody else on the worker's node holds a lease."""
    return not any(w.leases for w in books.workers.values() if w.node == worker.node and w is not worker)


def _first(batch: Batch) -> Indices:
    """The suspects whose turn is next."""
    waiting = (_queued(batch, group) for group in batch.suspects)
    return next((group for group in waiting if len(group)), np.empty(0, np.int64))


def _queued(batch: Batch, group: Indices) -> Indices:
    return np.asarray(group[batch.jobs.state[group] == JobState.QUEUED.code])
