"""Reports of a worker on their way to the ledger."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from dfbatch.actors.messages import Chunk, HeldChunk, Outcomes

MOST_UNCONFIRMED = 64
"""Reports kept until they are durable; beyond it the worker waits."""


class Outbox:
    """Keeps every report until the manager says that it is durable. Used with the worker's lock held."""

    def __init__(self) -> None:
        self._seq = 0
        self._unsent: deque[Outcomes] = deque()
        self._unconfirmed: deque[Outcomes] = deque()
        self._answered: dict[int, list[npt.NDArray[np.int64]]] = {}

    @property
    def has_unsent(self) -> bool:
        """True if a report has not been sent, or came back."""
        return bool(self._unsent)

    @property
    def is_empty(self) -> bool:
        """True if everything reported is durable."""
        return not self._unconfirmed

    @property
    def is_full(self) -> bool:
        """True if so many reports are not durable yet that the worker must wait."""
        return len(self._unconfirmed) >= MOST_UNCONFIRMED

    def add(self, outcomes: Outcomes) -> None:
        """Number a report and keep it."""
        self._seq += 1
        outcomes.seq = self._seq
        self._unsent.append(outcomes)
        self._unconfirmed.append(outcomes)
        self._answered.setdefault(outcomes.lease_id, []).append(outcomes.indices)

    def take_unsent(self) -> tuple[Outcomes, ...]:
        """What has to be sent; it is kept until it is confirmed."""
        taken = tuple(self._unsent)
        self._unsent.clear()
        return taken

    def put_back(self, outcomes: tuple[Outcomes, ...]) -> None:
        """These were not received after all."""
        self._unsent.extendleft(reversed(outcomes))

    def unconfirmed(self) -> tuple[Outcomes, ...]:
        """Every report that is not durable yet, sent or not, the oldest first."""
        return tuple(self._unconfirmed)

    def received(self, outcomes: tuple[Outcomes, ...]) -> None:
        """These reached the manager by another way."""
        arrived = {o.seq for o in outcomes}
        self._unsent = deque(o for o in self._unsent if o.seq not in arrived)

    def confirm(self, durable_seq: int) -> None:
        """Everything up to this number is durable."""
        while self._unconfirmed and self._unconfirmed[0].seq <= durable_seq:
            self._unconfirmed.popleft()

    def close_lease(self, lease_id: int) -> int:
        """How many jobs of the lease were answered; it is forgotten then."""
        return sum(map(len, self._answered.pop(lease_id, ())))

    def open_part(self, chunk: Chunk) -> HeldChunk:
        """The jobs of a chunk that have no outcome yet."""
        answered = self._answered.get(chunk.lease_id)
        keep = ~np.isin(chunk.indices, np.concatenate(answered)) if answered else np.ones(len(chunk.indices), np.bool_)
        return HeldChunk(chunk.lease_id, chunk.order.batch_id, chunk.indices[keep], chunk.generation[keep], chunk.solo)
