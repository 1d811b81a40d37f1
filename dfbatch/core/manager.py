"""The heart: events in, effects out.

``ManagerState.handle(event, now)`` changes the books by the rules and returns what
the shell must do. One event carries a chunk of jobs as arrays. The rules live in
the modules named in ``_RULES``, one family each; ``books.py`` holds what is known.

The life of a chunk: ``LeaseRequested`` -> ``Granted`` -> ``OutcomesReported`` ->
``OutcomesTaken`` -> (the shell commits) -> ``Committed`` -> ``BatchEnded``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfbatch.core import (
    control,
    dead_letters,
    events,
    following,
    leasing,
    liveness,
    outcomes,
    presence,
    resting,
    submitting,
)
from dfbatch.core.batch import BatchSpec
from dfbatch.core.books import Books
from dfbatch.core.effects import Effect
from dfbatch.core.instant import Instant
from dfbatch.core.submitting import Admission

_RULES: dict[type, Callable[[Books, Any, Instant], list[Effect]]] = {
    events.BatchSubmitted: submitting.on_submitted,
    events.BatchExtended: submitting.on_extended,
    events.BatchSealed: submitting.on_sealed,
    events.ProducerSeen: submitting.on_producer_seen,
    events.BatchRecovered: submitting.on_recovered,
    events.WorkerHello: presence.on_hello,
    events.LeaseRequested: leasing.on_requested,
    events.HandedBack: leasing.on_handed_back,
    events.Heartbeat: leasing.on_heartbeat,
    events.BreakersSeen: resting.on_breakers,
    events.PoolTroubled: liveness.on_pool_troubled,
    events.WorkerLost: presence.on_lost,
    events.WorkerLeft: presence.on_left,
    events.OutcomesReported: outcomes.on_reported,
    events.Committed: outcomes.on_committed,
    events.BatchPaused: control.on_paused,
    events.BatchResumed: control.on_resumed,
    events.BatchStopped: control.on_stopped,
    events.JobsCancelled: control.on_jobs_cancelled,
    events.Redriven: control.on_redriven,
    events.FollowersHeld: following.on_held,
    events.FollowersReleased: following.on_released,
    events.Purged: dead_letters.on_purged,
    events.PriorityChanged: control.on_priority,
    events.QueueChanged: control.on_queue_changed,
    events.StorageHealth: control.on_storage_health,
    events.Tick: liveness.on_tick,
}


class ManagerState(Books):
    """All state of one manager. Single-threaded; every method is quick."""

    def handle(self, event: events.Event, now: Instant) -> list[Effect]:
        """Apply one event. Raises UnknownId, InvalidInput or QueueFull where it must refuse; nothing changed then."""
        return _RULES[type(event)](self, event, now)

    def admit(self, spec: BatchSpec, content_of: dict[str, str] | None = None) -> Admission:
        """Decide about a submit before it is written.

        Raises QueueFull, KeyConflict, or InvalidInput if the id is taken (see ``is_taken``).
        """
        return submitting.admit(self, spec, content_of or {})

    def withdraw(self, spec: BatchSpec) -> None:
        """A submit that was admitted could not be made durable."""
        submitting.withdraw(self, spec)

    def admit_more(self, batch_id: str, n_more: int) -> None:
        """Reserve room for more jobs of a stream before they are written. Raises QueueFull: come again later."""
        submitting.admit_more(self, batch_id, n_more)

    def withdraw_more(self, batch_id: str, n_more: int) -> None:
        """Jobs that were admitted to a stream could not be made durable."""
        submitting.withdraw_more(self, batch_id, n_more)
