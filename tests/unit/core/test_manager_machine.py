"""Whatever happens, in whatever order: each job gets one outcome, and nothing is lost.

``World`` is the model: a ledger that holds only what was committed, workers that believe what they
were last told, and the shell's habit of performing effects. ``ManagerMachine`` lets anything happen
to it. A soak imports the machine and gives it more examples.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dfbatch.core import control, ending, events, leasing, recalls, snapshots, solitude
from dfbatch.core import effects as fx
from dfbatch.core.batch import Batch, BatchSpec, BatchStop
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN, BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.dead_letters import dead_letters, n_dead_letters
from dfbatch.core.death import Death
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.order import AGEING_S
from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.retry import Retry
from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState
from dfbatch.errors import InvalidInput, QueueFull

QUEUES = ("alpha", "beta")
WORKERS = ("ann", "bob", "cid")
NODES = {"ann": "n1", "bob": "n1", "cid": "n2"}
"""Of the workers; nobody knows that of another one."""
OUT_OF_MEMORY = Death(True, True, "was killed by the kernel, which had run out of memory,")
LOW_MEMORY = "killed due to the node running low on memory"
VERIFIERS = ("v1", "v2")
DEPENDENCIES = ("scorer", "store", OWN, CONSTRUCTION)
CANCEL = BatchStop(JobState.CANCELLED, BatchState.CANCELLED, "Cancelled by the user.")


@dataclass
class Ledger:
    """What is durable. ``tries``: the newest row of each job. ``log``: events of each batch, in order."""

    specs: dict[str, BatchSpec] = field(default_factory=dict)
    n_jobs: dict[str, int] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    results: dict[tuple[str, int, int], int] = field(default_factory=dict)
    tries: dict[tuple[str, int], tuple[int, int, int, bool, float]] = field(default_factory=dict)
    log: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    queue_log: list[events.QueueChanged] = field(default_factory=list)

    def generation(self, batch_id: str) -> np.ndarray:
        generation = np.zeros(self.n_jobs[batch_id], np.int16)
        for kind, detail in self.log[batch_id]:
            if kind == "redriven":
                generation[detail[0]] += 1
        return generation

    def cancelled(self, batch_id: str) -> np.ndarray:
        """Jobs cancelled by their handles in their present generation."""
        cancelled = np.zeros(self.n_jobs[batch_id], np.bool_)
        for kind, detail in self.log[batch_id]:
            if kind == "jobs cancelled":
                cancelled[detail] = True
            if kind == "redriven":
                cancelled[detail[0]] = False
        return np.flatnonzero(cancelled)

    def add_result(self, batch_id: str, index: int, generation: int, state: int) -> None:
        key = (batch_id, index, generation)
        assert key not in self.results, f"two outcomes of {key}"
        self.results[key] = state

    def add_try(self, batch_id: str, index: int, row: tuple[int, int, int, bool, float]) -> None:
        old = self.tries.get((batch_id, index))
        if old is None or row[:3] >= old[:3]:
            self.tries[batch_id, index] = row

    def open_batches(self) -> Iterator[str]:
        for batch_id, log in self.log.items():
            kinds = [kind for kind, _ in log if kind in ("finished", "redriven")]
            if not kinds or kinds[-1] == "redriven":
                yield batch_id

    def last(self, batch_id: str, *kinds: str) -> tuple[str, Any]:
        return next(((k, d) for k, d in reversed(self.log[batch_id]) if k in kinds), ("", None))

    def recovered(self, batch_id: str) -> events.BatchRecovered:
        generation, spec = self.generation(batch_id), self.specs[batch_id]
        ended = [(i, s) for (b, i, g), s in sorted(self.results.items()) if b == batch_id and g == generation[i]]
        tries = [(i, r) for (b, i), r in sorted(self.tries.items()) if b == batch_id and r[0] == generation[i]]
        kind, stop = self.last(batch_id, "stopped", "redriven")
        redriven = np.flatnonzero(generation)
        purged = [detail for kind, detail in self.log[batch_id] if kind == "purged"]
        changed = {"n_jobs": self.n_jobs[batch_id], "sealed": batch_id in self.sealed}
        return events.BatchRecovered(
            BatchSpec(**{f: changed.get(f, getattr(spec, f)) for f in spec.__slots__}),
            np.array([i for i, _ in ended], np.int64),
            np.array([s for _, s in ended], np.uint8),
            redriven,
            generation[redriven],
            np.array([i for i, _ in tries], np.int64),
            np.array([r[1] for _, r in tries], np.int16),
            np.array([r[2] for _, r in tries], np.int16),
            np.array([r[3] for _, r in tries], np.bool_),
            np.array([r[4] for _, r in tries], np.float64),
            paused=self.last(batch_id, "paused", "resumed", "finished")[1],
            priority=self.last(batch_id, "priority")[1],
            stop=stop if kind == "stopped" else None,
            redriven_at=self.last(batch_id, "redriven")[1][1] if len(redriven) else None,
            lost=self.lost.get(batch_id),
            cancelled_index=self.cancelled(batch_id),
            purged_index=np.unique(np.concatenate([np.empty(0, np.int64), *purged])),
        )


@dataclass(eq=False)
class Report:
    """Outcomes a worker has sent and does not know to be durable.

    ``charged``: jobs whom it cost a try, and whether they are tried again.
    """

    lease_id: int
    batch_id: str
    indices: np.ndarray
    generation: np.ndarray
    errors: np.ndarray
    charged: dict[int, bool] = field(default_factory=dict)
    durable: bool = False


def nothing() -> None:
    """Write no rows."""


@dataclass(eq=False)
class Rows:
    """What waits for the next commit. In a commit ``tries`` are written first; ``outcomes`` make it count."""

    batch_id: str
    outcomes: Callable[[], None] = nothing
    tries: Callable[[], None] = nothing
    counts: np.ndarray | None = None
    report: Report | None = None


@dataclass
class Holding:
    """A lease as its worker sees it. ``left``: index to generation of the jobs without an outcome."""

    batch_id: str
    left: dict[int, int]
    solo: bool


@dataclass
class SimWorker:
    """A worker process. ``met``: it has said hello to the present manager. ``breakers`` by verifier and name."""

    name: str
    incarnation: str
    met: bool = False
    breakers: dict[tuple[str, str], BreakerSeen] = field(default_factory=dict)
    held: dict[int, Holding] = field(default_factory=dict)
    unconfirmed: list[Report] = field(default_factory=list)


class World:
    """One ledger, its manager of the moment, and workers. Time passes only in ``pass_time``."""

    def __init__(self) -> None:
        self.now = Instant(1.7e9, 1000.0)
        self.ledger = Ledger()
        self.state = ManagerState(epoch=1, rng=np.random.default_rng(7))
        self.rows: list[Rows] = []
        self.seals_due: list[tuple[str, str | None]] = []
        self.asked_to_seal: set[str] = set()
        self.heard_of: dict[str, float] = {}
        self.arriving: dict[str, int] = {}
        self.yields: dict[int, str] = {}
        self.n_yields = 0
        self.cut: dict[int, str] = {}
        self.workers: dict[str, SimWorker] = {}
        self.serial = itertools.count()
        self.served_at: dict[int, float] = {}
        self.waited: Counter[tuple[str, str]] = Counter()
        self.born = self.now.mono

    # ------------------------------------------------------------------------------- shell

    def tell(self, event: events.Event, report: Report | None = None) -> list[fx.Effect]:
        effects = self.state.handle(event, self.now)
        for effect in effects:
            self.perform(effect, report)
        order = self.state.order("default")
        for pair in [p for p in self.waited if p[0] not in order]:
            del self.waited[pair]
        return effects

    def perform(self, effect: fx.Effect, report: Report | None) -> None:
        match effect:
            case fx.OutcomesTaken():
                self.check_taken(effect)
                self.put_taken(effect, report)
            case fx.OutcomesDecided():
                self.put_decided(effect)
            case fx.SuspectsNoted():
                rows = list(zip(effect.indices, effect.generation, effect.attempts, effect.deaths, strict=True))
                self.rows.append(Rows(effect.batch_id, tries=lambda: self.add_tries(effect.batch_id, rows, True)))
            case fx.BatchEnded():
                self.check_ended(effect)
                self.note(effect.batch_id, "finished", None)
            case fx.SealDue():
                self.check_seal_due(effect)
                self.seals_due.append((effect.batch_id, effect.reason))
            case fx.Recall(reason="yield"):
                self.check_yield(effect)
                self.yields |= dict.fromkeys(effect.lease_ids, effect.worker)
                self.n_yields += 1
            case fx.Recall(reason=recalls.JOBS_CANCELLED):
                self.cut |= dict.fromkeys(effect.lease_ids, effect.worker)
            case fx.Note(kind="stopped"):
                assert effect.batch_id is not None
                self.note(effect.batch_id, "stopped", self.state.batches[effect.batch_id].stopping or CANCEL)
            case _:
                pass

    def note(self, batch_id: str, kind: str, detail: Any) -> None:
        self.rows.append(Rows(batch_id, lambda: self.ledger.log[batch_id].append((kind, detail))))

    def put_taken(self, effect: fx.OutcomesTaken, report: Report | None) -> None:
        columns = (effect.indices, effect.generation, effect.attempts, effect.deaths)
        rows = [tuple(int(c[k]) for c in columns) for k in range(len(effect.indices))]
        tried = np.flatnonzero(effect.error_class != ErrorClass.NONE)

        def outcomes() -> None:
            for row, state in zip(rows, effect.state, strict=True):
                if state >= FIRST_TERMINAL_CODE:
                    self.ledger.add_result(effect.batch_id, row[0], row[1], int(state))

        def tries() -> None:
            self.add_tries(effect.batch_id, [rows[k] for k in tried], False, effect.retry_at[tried])

        counts = np.bincount(effect.state, minlength=len(JobState))
        self.rows.append(Rows(effect.batch_id, outcomes, tries, counts, report))
        if report is not None:
            for index, error, state in zip(effect.indices.tolist(), effect.error_class, effect.state, strict=True):
                if error not in (ErrorClass.NONE, ErrorClass.BREAKER_OPEN):
                    assert index not in report.charged, "one try was charged twice"
                    report.charged[index] = state == JobState.RETRYING.code

    def put_decided(self, effect: fx.OutcomesDecided) -> None:
        keys = list(zip(effect.indices.tolist(), effect.generation.tolist(), strict=True))

        def outcomes() -> None:
            for index, generation in keys:
                self.ledger.add_result(effect.batch_id, index, generation, effect.state.code)

        counts = np.bincount([effect.state.code] * len(keys), minlength=len(JobState))
        self.rows.append(Rows(effect.batch_id, outcomes, counts=counts))

    def add_tries(self, batch_id: str, rows: list[Any], suspect: bool, retry_at: np.ndarray | None = None) -> None:
        for k, (index, generation, attempts, deaths) in enumerate(rows):
            due = 0.0 if retry_at is None else float(np.nan_to_num(retry_at[k]))
            self.ledger.add_try(batch_id, int(index), (int(generation), int(attempts), int(deaths), suspect, due))

    def commit(self, n: int | None = None) -> None:
        """The first ``n`` rows become durable, all at once."""
        while self.seals_due:
            batch_id, reason = self.seals_due.pop()
            if batch_id in self.state.batches:
                self.seal(batch_id, reason)
        part, self.rows = self.rows[:n], self.rows[n:] if n is not None else []
        counts: dict[str, np.ndarray] = {}
        for rows in part:
            rows.tries()
            rows.outcomes()
            if rows.counts is not None:
                counts[rows.batch_id] = counts.get(rows.batch_id, 0) + rows.counts
            if rows.report is not None:
                rows.report.durable = True
        if counts:
            self.tell(events.Committed(tuple(counts.items())))

    def commit_all(self) -> None:
        while self.rows:
            self.commit()

    def crash(self, torn: int) -> None:
        """The manager dies, perhaps in a commit of ``torn`` rows; another one takes over from the ledger."""
        for position, rows in enumerate(self.rows):
            if position < torn:
                rows.tries()
            if rows.report is not None:
                rows.report.charged = {
                    i: again for i, again in rows.report.charged.items() if again and position < torn
                }
        self.rows.clear()
        for forgotten in (self.seals_due, self.asked_to_seal, self.arriving, self.yields, self.cut, self.waited):
            forgotten.clear()
        self.heard_of = dict.fromkeys(self.heard_of, self.now.mono)
        self.state = ManagerState(epoch=self.state.epoch + 1, rng=np.random.default_rng(8))
        for change in self.ledger.queue_log:
            self.tell(change)
        for batch_id in list(self.ledger.open_batches()):
            self.tell(self.ledger.recovered(batch_id))
            if batch_id in self.state.batches:
                self.check_recovered(self.state.batches[batch_id])
        self.state.hold_leases_until = self.now.mono + 2.0
        for sim in self.workers.values():
            sim.met = False

    def check_recovered(self, batch: Batch) -> None:
        kind, stop = self.ledger.last(batch.batch_id, "stopped", "redriven")
        assert batch.stopping == (stop if kind == "stopped" else None)
        assert batch.lost == self.ledger.lost.get(batch.batch_id)
        assert batch.jobs.is_terminal(self.ledger.cancelled(batch.batch_id)).all(), "a cancel was forgotten"
        if batch.finished_as is None:
            assert batch.paused == self.ledger.last(batch.batch_id, "paused", "resumed", "finished")[1]
        for (batch_id, index, generation), state in self.ledger.results.items():
            if batch_id == batch.batch_id and generation == batch.jobs.generation[index]:
                assert batch.jobs.state[index] == state, "a durable outcome was forgotten"

    # ----------------------------------------------------------------------------- clients

    def submit(self, spec: BatchSpec) -> None:
        self.state.admit(spec)
        limit = self.state.queue(spec.queue).policy.max_length
        queue = self.state.queue(spec.queue)
        assert not (limit and spec.n_jobs) or queue.n_open + queue.n_reserved <= limit, "max_length exceeded"
        self.ledger.specs[spec.batch_id] = spec
        self.ledger.n_jobs[spec.batch_id] = spec.n_jobs
        self.ledger.log[spec.batch_id] = []
        if spec.sealed:
            self.ledger.sealed.add(spec.batch_id)
        self.heard_of[spec.batch_id] = self.now.mono
        self.tell(events.BatchSubmitted(spec))

    def admit(self, batch_id: str, n: int) -> None:
        """A slice of a stream comes to the door; until its rows are durable it only takes its place."""
        self.state.admit_more(batch_id, n)
        self.arriving[batch_id] = n

    def arrive(self, batch_id: str) -> None:
        n, first = self.arriving.pop(batch_id), self.ledger.n_jobs[batch_id]
        self.ledger.n_jobs[batch_id] += n
        self.heard_of[batch_id] = self.now.mono
        self.tell(events.BatchExtended(batch_id, n, first))
        self.tell(events.BatchExtended(batch_id, n, first))  # the answer was lost: a repeat changes nothing

    def turn_away(self, batch_id: str) -> None:
        """The storage refused the slice."""
        self.state.withdraw_more(batch_id, self.arriving.pop(batch_id))

    def hear_of_producer(self, batch_id: str) -> None:
        self.heard_of[batch_id] = self.now.mono
        self.tell(events.ProducerSeen(batch_id))

    def seal(self, batch_id: str, reason: str | None = None) -> None:
        """As the shell does it: what is on its way comes first, and the seal is durable before it is carried out."""
        if batch_id in self.arriving:
            self.arrive(batch_id)
        if batch_id not in self.ledger.sealed:
            self.ledger.sealed.add(batch_id)
            if reason is not None:
                self.ledger.lost[batch_id] = reason
        self.tell(events.BatchSealed(batch_id, self.ledger.lost.get(batch_id)))

    def change_queue(self, change: events.QueueChanged) -> None:
        self.ledger.queue_log.append(change)
        self.tell(change)

    # ----------------------------------------------------------------------------- workers

    def hello(self, sim: SimWorker, mark: tuple[int, int] | None = None, death: Death | None = None) -> None:
        """As the worker does it: first what it has to report, then what it holds."""
        for report in list(sim.unconfirmed):
            self.send(sim, report)
        held = tuple(
            events.HeldLease(
                k, h.batch_id, np.array(list(h.left), np.int64), np.array(list(h.left.values()), np.int16), h.solo
            )
            for k, h in sim.held.items()
        )
        for lease_id in [k for k in self.yields if k not in self.state.leases]:
            del self.yields[lease_id]  # if it is taken up again, it may be called back again
        before = self.deaths()
        alone = self.lone_jobs(sim.name)
        node = NODES.get(sim.name, "")
        effects = self.tell(events.WorkerHello(sim.name, sim.incarnation, node=node, held=held, mark=mark, death=death))
        self.check_deaths(before, alone)
        (verdict,) = (e for e in effects if isinstance(e, fx.LeaseVerdicts))
        sim.held = {k: h for k, h in sim.held.items() if k in verdict.kept}
        sim.met = True
        if sim.breakers:
            self.show_breakers(sim)
        assert self.state.workers[sim.name].breakers == tuple(sim.breakers.values()), "of another process"

    def show_breakers(self, sim: SimWorker) -> None:
        """Who waits for work must hear of it when something rests no more."""
        blocked = {k for k, b in self.blocking(self.state.workers[sim.name].breakers)}
        effects = self.tell(events.BreakersSeen(sim.name, tuple(sim.breakers.values())))
        freed = blocked.difference(k for k, b in self.blocking(sim.breakers.values()))
        assert not freed or any(isinstance(e, fx.WorkAvailable) for e in effects)

    def set_breaker(self, sim: SimWorker, verifier: str, name: str, state: BreakerState, **more: Any) -> None:
        given = {"retry_at": self.now.mono, "probes": 1, "blocks": True, **more}
        sim.breakers[verifier, name] = BreakerSeen(verifier, name, state, **given)

    @staticmethod
    def blocking(breakers: Iterable[BreakerSeen]) -> Iterator[tuple[tuple[str, str], BreakerSeen]]:
        for breaker in breakers:
            if breaker.blocks and breaker.state is not BreakerState.CLOSED:
                yield (breaker.verifier, breaker.name), breaker

    def obstacles(self, worker: str, batch: Batch) -> list[BreakerSeen]:
        """What the worker said that keeps it from the batch; a construction counts where it once worked."""
        if worker not in self.workers:
            return []
        found = [b for _, b in self.blocking(self.workers[worker].breakers.values())]
        found = [b for b in found if b.verifier == batch.spec.verifier]
        return [b for b in found if b.name != CONSTRUCTION or batch.n_success_ever]

    def is_resting(self, worker: str, batch: Batch) -> bool:
        obstacles = self.obstacles(worker, batch)
        leases = self.state.workers[worker].leases.values()
        at_it = any(self.state.batches[x.batch_id].spec.verifier == batch.spec.verifier for x in leases)
        return any(self.now.mono < b.retry_at for b in obstacles) or (bool(obstacles) and at_it)

    def request(self, sim: SimWorker) -> bool:
        self.hear_what_is_durable(sim)
        before = self.servable(sim.name)
        claims = dict(self.state.claims)
        waited = {b for b, claim in claims.items() if self.now.mono >= claim.until}
        effects = self.tell(events.LeaseRequested(sim.name))
        granted = next((e for e in effects if isinstance(e, fx.Granted)), None)
        if granted is None:
            free = not self.state.workers[sim.name].leases and self.state.storage_refusing is None
            may_lease = free and self.now.mono >= self.state.hold_leases_until
            assert not (may_lease and before) or self.state.claims != claims, "a free worker gets none of it"
            return False
        lease = granted.lease
        self.check_granted(lease, before)
        if solitude.needs_node(self.state.batches[lease.batch_id], lease.indices) and lease.solo:
            lone = self.state.lone.get(NODES.get(sim.name, "")) is lease
            assert lone or lease.batch_id in waited or sim.name not in NODES, "it has company, and has not waited"
        left = dict(zip(lease.indices.tolist(), granted.generation.tolist(), strict=True))
        sim.held[lease.lease_id] = Holding(lease.batch_id, left, lease.solo)
        return True

    def report(self, sim: SimWorker, lease_id: int, errors: dict[int, int]) -> None:
        held = sim.held[lease_id]
        indices = np.array(sorted(errors), np.int64)
        generation = np.array([held.left.pop(i) for i in sorted(errors)], np.int16)
        if not held.left:
            del sim.held[lease_id]
        codes = np.array([errors[i] for i in sorted(errors)], np.uint8)
        report = Report(lease_id, held.batch_id, indices, generation, codes)
        sim.unconfirmed.append(report)
        self.send(sim, report)

    def send(self, sim: SimWorker, report: Report) -> None:
        batch = self.state.batches.get(report.batch_id)
        before = None if batch is None else batch.jobs.attempts.copy()
        effects = self.tell(
            events.OutcomesReported(
                sim.name,
                report.lease_id,
                report.batch_id,
                report.indices,
                report.generation,
                report.errors,
                (report.errors != 0) * np.int64(77),
                0.01,
            ),
            report,
        )
        taken = [e for e in effects if isinstance(e, fx.OutcomesTaken)]
        if not taken and not any(rows.report is report for rows in self.rows):
            report.durable = True  # there is nothing new in it
        if batch is not None and before is not None:
            for e in taken:
                before[e.indices] += (e.error_class != ErrorClass.NONE) & (e.error_class != ErrorClass.BREAKER_OPEN)
            assert (batch.jobs.attempts == before).all(), "charged for something else"

    def lose_dependency(self, sim: SimWorker, verifier: str, name: str, rest_s: float) -> None:
        """All that the worker has of the verifier comes back, with the news that its breaker is open."""
        self.set_breaker(sim, verifier, name, BreakerState.OPEN, retry_at=self.now.mono + rest_s, probes=2)
        self.show_breakers(sim)
        for lease_id, held in list(sim.held.items()):
            if self.ledger.specs[held.batch_id].verifier == verifier:
                self.report(sim, lease_id, dict.fromkeys(held.left, int(ErrorClass.BREAKER_OPEN)))

    def recover_dependencies(self, sim: SimWorker) -> None:
        """Everything is back: what has rested is probed with what the worker got, and closes."""
        for key, breaker in self.blocking(list(sim.breakers.values())):
            probed = any(self.ledger.specs[h.batch_id].verifier == key[0] for h in sim.held.values())
            if probed or breaker.retry_at == float("inf"):
                self.set_breaker(sim, *key, BreakerState.CLOSED)
        self.show_breakers(sim)

    def hear_what_is_durable(self, sim: SimWorker) -> None:
        sim.unconfirmed = [report for report in sim.unconfirmed if not report.durable]

    def heartbeat(self, sim: SimWorker) -> None:
        self.hear_what_is_durable(sim)
        for effect in self.tell(events.Heartbeat(sim.name, tuple(sim.held))):
            assert isinstance(effect, fx.Recall)
            for lease_id in effect.lease_ids:
                del sim.held[lease_id]
                self.tell(events.HandedBack(sim.name, lease_id))

    def die(self, name: str, noticed: bool, cause: str = "killed") -> None:
        sim = self.workers.pop(name)
        if noticed and name in self.state.workers:
            self.tell(events.WorkerLost(name, sim.incarnation, cause))

    def pass_time(self, seconds: float, jump: float = 0.0) -> None:
        self.now = Instant(self.now.wall + seconds + jump, self.now.mono + seconds)
        before = self.deaths()
        alone = frozenset().union(
            *(self.lone_jobs(w.name) for w in self.state.workers.values() if w.lost_at is not None)
        )
        self.n_yields = 0
        self.tell(events.Tick())
        self.check_deaths(before, alone)
        self.check_silent_are_missed()
        self.check_shared_out()
        self.check_standing_still_is_told()

    # ------------------------------------------------------------------------------ checks

    def deaths(self) -> dict[tuple[str, int], int]:
        return {
            (b.batch_id, int(i)): int(b.jobs.deaths[i])
            for b in self.state.batches.values()
            for i in np.flatnonzero(b.jobs.deaths)
        }

    def lone_jobs(self, worker: str) -> frozenset[tuple[str, int]]:
        known = self.state.workers.get(worker)
        leases = () if known is None else known.leases.values()
        return frozenset((x.batch_id, int(x.indices[0])) for x in leases if x.solo and len(x.indices) == 1)

    def check_deaths(self, before: dict[tuple[str, int], int], alone: frozenset[tuple[str, int]]) -> None:
        for job, n in self.deaths().items():
            if n > before.get(job, 0):
                assert job in alone, f"{job} was charged with a death in company"
                assert n == before.get(job, 0) + 1

    def check_taken(self, effect: fx.OutcomesTaken) -> None:
        batch = self.state.batches[effect.batch_id]
        assert (effect.attempts <= batch.spec.policy.retry.max_attempts).all(), "too many attempts"
        waits = effect.state == JobState.RETRYING.code
        assert (np.isnan(effect.retry_at) == ~waits).all()
        assert (effect.state[effect.error_class == 0] == JobState.SUCCEEDED.code).all()

    def silence(self, batch: Batch) -> float:
        return self.now.mono - self.heard_of[batch.batch_id]

    def check_seal_due(self, effect: fx.SealDue) -> None:
        """The shell is asked once in a life, because the batch is being stopped or its producer is silent."""
        batch = self.state.batches[effect.batch_id]
        assert batch.batch_id not in self.ledger.sealed
        assert batch.batch_id not in self.asked_to_seal, "asked twice"
        self.asked_to_seal.add(batch.batch_id)
        if batch.stopping is None:
            assert batch.batch_id not in self.arriving, "a producer was given up while a slice of it was written"
            assert self.silence(batch) >= batch.spec.policy.producer_silence_s, "a producer was given up too soon"
            assert effect.reason is not None

    def check_silent_are_missed(self) -> None:
        for batch in self.state.batches.values():
            if not batch.sealed and batch.batch_id not in self.arriving:
                missed = self.silence(batch) >= batch.spec.policy.producer_silence_s
                assert not missed or batch.batch_id in self.asked_to_seal, "nobody misses a silent producer"

    def check_yield(self, effect: fx.Recall) -> None:
        """Who holds work is asked to make room at most once for each chunk, and only while rows can be written."""
        assert self.state.storage_refusing is None
        assert effect.lease_ids
        for lease_id in effect.lease_ids:
            assert self.state.leases[lease_id].worker == effect.worker
            assert lease_id not in self.yields, "asked twice for one chunk"

    def check_shared_out(self) -> None:
        """After a tick no worker that could run it waits beside a chunk that is old and has a rest."""
        in_line = [b for b in self.state.batches.values() if b.batch_id in self.state.order("default")]
        idle = [w for w in self.state.live_workers("default") if w.wants and not w.leases]
        idle = [w for w in idle if not any(leasing.may_lease(self.state, w, b, self.now) for b in in_line)]
        if not idle or self.state.storage_refusing is not None or self.n_yields >= len(idle):
            return
        for worker in self.state.live_workers("default"):
            leases = sorted(worker.leases.values(), key=lambda lease: lease.granted_at)
            if not leases or self.now.mono - leases[0].granted_at < leasing.LONG_S:
                continue
            if any(lease.recalled_at is not None for lease in leases):
                continue
            for lease in leases[1:] or [lease for lease in leases if lease.n_open > 1]:
                batch = self.state.batches[lease.batch_id]
                rests = lease.solo or batch.paused is not None or batch.stopping is not None
                could = all(leasing.may_lease(self.state, taker, batch, self.now) for taker in idle)
                assert rests or not could, "a worker waits beside a chunk that could be shared"

    def check_standing_still_is_told(self) -> None:
        """A batch that no worker could get on with, because of a dependency, is stalled and says why."""
        workers = self.state.live_workers("default")
        for batch in self.state.batches.values():
            rests = batch.paused is not None or batch.stopping is not None or self.now.mono < batch.starts_at
            stands = bool(workers) and all(self.obstacles(worker.name, batch) for worker in workers)
            if stands and not rests and batch.finished_as is None:
                assert batch.stalled, "nobody is told that a dependency is away"

    def check_ended(self, effect: fx.BatchEnded) -> None:
        """A batch has ended when, and only when, each of its jobs has its row in the ledger."""
        generation = self.ledger.generation(effect.batch_id)
        rows = [self.ledger.results[effect.batch_id, i, int(g)] for i, g in enumerate(generation)]
        assert Counter(JobState.of(s).value for s in rows) == effect.counts
        assert effect.state.is_terminal
        assert effect.batch_id in self.ledger.sealed
        if effect.batch_id in self.ledger.lost:
            assert effect.state is not BatchState.SUCCEEDED, "not all came that were meant to"

    def ordinary_work(self, batch: Batch) -> bool:
        """True if a job is in line that is no suspect and waits for no other."""
        in_line = np.intersect1d(batch.jobs.in_states(JobState.QUEUED), batch.ready.entries())
        return len(np.setdiff1d(in_line, batch.quarantined())) > 0

    def suspects_wait(self, batch: Batch, worker: str) -> bool:
        """True if suspects could be leased to the worker, which holds nothing: the next ones, in their order."""
        first = self.first_suspects(batch)
        if not len(first):
            return False
        claim = self.state.claims.get(batch.batch_id)
        over = claim is not None and self.now.mono >= claim.until
        return over or not self.neighbours(worker) or not np.isin(first, batch.of_node).any()

    @staticmethod
    def first_suspects(batch: Batch) -> np.ndarray:
        queued = [group[batch.jobs.state[group] == JobState.QUEUED.code] for group in batch.suspects]
        return next((group for group in queued if len(group)), np.empty(0, np.int64))

    def neighbours(self, worker: str) -> list[Any]:
        """Leases of other workers of its node."""
        node = NODES.get(worker)
        return [x for x in self.state.leases.values() if node and x.worker != worker and NODES.get(x.worker) == node]

    def is_kept_out(self, worker: str, batch: Batch) -> bool:
        """True if a suspect has the worker's node to itself, or waits for it."""
        neighbours = self.neighbours(worker)
        for batch_id, claim in self.state.claims.items():
            claimant = self.state.batches[batch_id]
            needy = np.isin(self.first_suspects(claimant), claimant.of_node).any()
            if claim.node == NODES.get(worker) and self.now.mono < claim.until and needy:
                return claimant is not batch or bool(neighbours or self.state.workers[worker].leases)
        return any(self.has_node(x) for x in neighbours)

    def has_node(self, lease: Any) -> bool:
        """True if its node is the lease's alone, for it has not been for too long."""
        lone = self.state.lone.get(NODES.get(lease.worker, "")) is lease
        return lone and self.now.mono - lease.granted_at < solitude.LONE_TERM_S

    def check_nodes(self) -> None:
        """Nobody works beside a suspect that has its node to itself; a claim ends within its bound."""
        for lease in self.state.lone.values():
            assert not self.has_node(lease) or not self.neighbours(lease.worker), "somebody works beside it"
        for claim in self.state.claims.values():
            assert claim.until <= self.now.mono + solitude.NODE_PATIENCE_S

    def servable(self, worker: str) -> list[Batch]:
        """Batches from which this worker could get a lease now, whatever the order."""
        known = self.state.workers[worker]
        return [
            b
            for b in self.state.batches.values()
            if b.has_ready_work()
            and self.now.mono >= b.starts_at
            and not self.state.queue(b.spec.queue).paused
            and leasing.room_left(self.state, b, self.now) > 0
            and not self.is_resting(worker, b)
            and not self.is_kept_out(worker, b)
            and (self.ordinary_work(b) or (not known.leases and self.suspects_wait(b, worker)))
        ]

    def check_granted(self, lease: Any, could: list[Batch]) -> None:
        batch, queue = (
            self.state.batches[lease.batch_id],
            self.state.queue(self.state.batches[lease.batch_id].spec.queue),
        )
        limit = queue.policy.concurrency
        assert limit is None or queue.n_running <= limit, "concurrency exceeded"
        assert batch in could, "leased from a batch that must rest"
        assert batch.paused is None
        assert batch.stopping is None
        for breaker in self.obstacles(lease.worker, batch):
            assert self.now.mono >= breaker.retry_at, "leased to a worker whose breaker is open"
            assert len(lease.indices) <= breaker.probes, "more probes than permits"
        others = [x for x in self.state.leases.values() if x.batch_id == lease.batch_id and x is not lease]
        live = np.concatenate([self.state.unanswered(x) for x in others]) if others else np.empty(0)
        assert not np.isin(lease.indices, live).any(), "one job under two leases"
        assert not np.isin(lease.indices, batch.quarantined()).any(), "a suspect among others"
        level_age = self.now.mono - self.served_at.get(batch.priority, self.born)
        for other in could:
            ahead = other.priority - batch.priority
            assert ahead * AGEING_S <= max(0.0, level_age) + 1e-6, "a lesser batch was served first"
            if ahead == 0 and other is not batch:
                self.waited[other.batch_id, batch.batch_id] += 1
                assert self.waited[other.batch_id, batch.batch_id] <= 1, "served twice while another waited"
        self.served_at[batch.priority] = self.now.mono
        for pair in [p for p in self.waited if p[0] == batch.batch_id]:
            del self.waited[pair]

    def check(self) -> None:
        self.state.validate()
        self.check_nodes()
        assert self.state.reserved == {b: n for b, n in self.arriving.items() if n}, "a place is taken for nobody"
        order = self.state.order("default")
        for batch in self.state.batches.values():
            assert n_dead_letters(batch) == len(dead_letters(batch))
            seen = snapshots.progress(self.state, batch.batch_id, self.now)
            assert sum(seen.counts.values()) == len(batch.jobs)
            assert seen.status.is_terminal == (batch.finished_as is not None)
            ready = batch.has_ready_work() and self.now.mono >= batch.starts_at
            paused = self.state.queue(batch.spec.queue).paused
            if batch.batch_id in order:
                assert ready
                assert not paused
            elif ready and not paused:
                assert batch.spec.policy.delay_s, "ready, but not in line"

    def drain(self) -> None:
        """Lift every limit and work on: all batches end, and soon."""
        self.tell(events.StorageHealth(None))
        for queue in QUEUES:
            self.tell(events.QueueChanged(queue, QueuePolicy(), paused=False))
        for batch in list(self.state.batches.values()):
            if not batch.sealed:
                self.seal(batch.batch_id)
            if batch.batch_id in self.state.batches:
                self.tell(events.BatchResumed(batch.batch_id))
                self.tell(events.FollowersReleased(batch.batch_id, np.arange(len(batch.jobs))))
        if not self.workers:
            self.workers["dot"] = SimWorker("dot", "dot-0")
        for _ in range(60):
            self.commit_all()
            if all(b.finished_as is not None for b in self.state.batches.values()):
                break
            self.pass_time(31.0)
            for sim in self.workers.values():
                if not sim.met or sim.name not in self.state.workers:
                    self.hello(sim)
                while True:
                    self.recover_dependencies(sim)
                    for lease_id, held in list(sim.held.items()):
                        self.report(sim, lease_id, dict.fromkeys(held.left, 0))
                    if not self.request(sim):
                        break
                self.check()
        self.check_nothing_lost()

    def check_nothing_lost(self) -> None:
        self.commit_all()
        assert list(self.ledger.open_batches()) == []
        expected = {
            (batch_id, i, g)
            for batch_id in self.ledger.specs
            for i, last in enumerate(self.ledger.generation(batch_id))
            for g in range(last + 1)
        }
        assert set(self.ledger.results) == expected


ERRORS = (0, 0, 0, *range(1, len(ErrorClass)))
SEEDS = st.integers(0, 2**20)
"""Where Hypothesis draws one number instead of many: fast, and still repeatable."""


class Dice:
    """Choices from one drawn number."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def one(self, *options: Any) -> Any:
        return options[int(self._rng.integers(len(options)))]

    def shuffled(self, *options: Any) -> list[Any]:
        return [options[k] for k in self._rng.permutation(len(options))]

    def some(self, indices: np.ndarray) -> np.ndarray:
        return indices[self._rng.random(len(indices)) < self.one(0.3, 0.7, 1.0)]

    def number(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def policy(self) -> BatchPolicy:
        return BatchPolicy(
            retry=Retry(max_attempts=self.number(1, 3), initial_s=self.one(0.0, 1.0, 30.0)),
            deadline_s=self.one(None, None, None, 40.0),
            delay_s=self.one(0.0, 0.0, 5.0),
            max_failure_ratio=self.one(None, None, 0.5),
            fail_fast=self.one(False, True),
            fail_fast_after=self.number(2, 5),
            max_worker_deaths=self.number(1, 2),
            max_returns=self.number(0, 2),
            producer_silence_s=self.one(60.0, 60.0, 8.0),
        )

    def limits(self) -> QueuePolicy:
        return QueuePolicy(
            max_length=self.one(None, 10, 50),
            rate_per_s=self.one(None, None, 0.5),
            burst=3.0,
            concurrency=self.one(None, 1, 4),
        )


class ManagerMachine(RuleBasedStateMachine):
    """Anything may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.kept, ending.FINISHED_KEPT = ending.FINISHED_KEPT, 4

    @property
    def state(self) -> ManagerState:
        return self.world.state

    def pick(self, dice: Dice, wanted: Callable[[Batch], bool] = lambda b: True) -> Batch | None:
        found = [b for b in self.state.batches.values() if wanted(b)]
        return dice.one(*found) if found else None

    def worker(self, dice: Dice) -> SimWorker:
        """Some worker; one whom the manager does not know, or who does not know it, says hello first."""
        name = dice.one(*WORKERS)
        if name not in self.world.workers:
            self.world.workers[name] = SimWorker(name, f"{name}-{next(self.world.serial)}")
        sim = self.world.workers[name]
        if not sim.met or name not in self.state.workers:
            self.world.hello(sim)
        return sim

    # ------------------------------------------------------------------------------ clients

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        for more in range(3):
            self.submit(seed + more)

    @rule(seed=SEEDS)
    def submit(self, seed: int) -> None:
        dice, serial = Dice(seed), next(self.world.serial)
        if len(self.state.batches) - len(self.state.finished) >= 6:
            return
        spec = BatchSpec(
            f"b{serial}",
            dice.one(0, 1, 5, 12, 40),
            dice.one(*QUEUES),
            dice.number(0, 2),
            dice.policy(),
            submit_id=f"s{serial}",
            submitted_at=self.world.now.wall,
            sealed=dice.one(True, False),
            verifier=dice.one(*VERIFIERS),
        )
        try:
            self.world.submit(spec)
        except QueueFull:
            assert not self.state.is_taken(spec.batch_id)

    @rule(seed=SEEDS, steps=st.integers(1, 4))
    def stream(self, seed: int, steps: int) -> None:
        """Slices come to the door of a stream, arrive, or are turned away; its producer lives, or ends it."""
        dice = Dice(seed)
        for _ in range(steps):
            batch = self.pick(dice, lambda b: not b.sealed)
            if batch is not None:
                self.feed(dice, batch)

    def feed(self, dice: Dice, batch: Batch) -> None:
        on_its_way = batch.batch_id in self.world.arriving
        match dice.one("slice", "slice", "slice", "sign of life", "trouble", "seal"):
            case "slice" if on_its_way:
                self.world.arrive(batch.batch_id)
            case "slice":
                try:
                    self.world.admit(batch.batch_id, dice.number(1, 8))  # an empty one never gets to the rules
                except QueueFull:
                    assert len(batch.jobs) == self.world.ledger.n_jobs[batch.batch_id]
                if dice.one(False, True) and batch.batch_id in self.world.arriving:
                    self.world.arrive(batch.batch_id)
            case "sign of life":
                self.world.hear_of_producer(batch.batch_id)
            case "trouble" if on_its_way:
                self.world.turn_away(batch.batch_id)
            case "seal":
                self.world.seal(batch.batch_id)
        if batch.sealed and batch.batch_id in self.state.batches:
            with pytest.raises(InvalidInput, match="sealed"):
                self.state.admit_more(batch.batch_id, 1)

    @rule(seed=SEEDS, what=st.sampled_from(["pause", "resume", "cancel", "priority", "some jobs", "some jobs"]))
    def control(self, seed: int, what: str) -> None:
        dice = Dice(seed)
        batch = self.pick(dice, lambda b: b.finished_as is None)
        if batch is None:
            return
        match what:
            case "pause":
                self.world.tell(events.BatchPaused(batch.batch_id))
                self.world.note(batch.batch_id, "paused", "paused")
            case "resume":
                self.world.tell(events.BatchResumed(batch.batch_id))
                self.world.note(batch.batch_id, "resumed", None)
            case "cancel" if batch.stopping is None:
                self.stop(batch)
            case "priority":
                priority = dice.number(0, 2)
                self.world.note(batch.batch_id, "priority", priority)
                self.world.tell(events.PriorityChanged(batch.batch_id, priority))
            case "some jobs":
                self.cancel_jobs(batch, dice.some(np.arange(len(batch.jobs))))

    def cancel_jobs(self, batch: Batch, some: np.ndarray) -> np.ndarray:
        """Durable before it is carried out. Returns those that are leased: whoever holds them hears of it."""
        some = control.without_outcome(self.state, batch.batch_id, some)
        self.world.note(batch.batch_id, "jobs cancelled", some)
        self.world.commit_all()
        if batch.batch_id not in self.state.batches:
            return some[:0]
        self.world.tell(events.JobsCancelled(batch.batch_id, some))
        leased = np.asarray(some[batch.jobs.state[some] == JobState.RUNNING.code])
        for lease_id in batch.jobs.lease[leased].tolist():
            assert batch.stopping is not None or lease_id in self.world.cut, "what is not begun of it will run"
        return leased

    def stop(self, batch: Batch) -> None:
        """Durable before it is carried out."""
        self.world.note(batch.batch_id, "stopped", CANCEL)
        self.world.commit_all()
        if batch.batch_id in self.state.batches:
            self.world.tell(events.BatchStopped(batch.batch_id, CANCEL))

    @rule(seed=SEEDS)
    def redrive(self, seed: int) -> None:
        dice = Dice(seed)
        batch = self.pick(dice, lambda b: b.jobs.n_terminal > b.jobs.count(JobState.SUCCEEDED))
        if batch is None:
            return
        unwritten = batch.unwritten()
        if len(unwritten):
            before = batch.jobs.state.copy()
            with pytest.raises(InvalidInput):
                self.world.tell(events.Redriven(batch.batch_id, unwritten[:1]))
            assert (batch.jobs.state == before).all()
        some = dice.some(control.redrivable(self.state, batch.batch_id))
        try:
            self.world.tell(events.Redriven(batch.batch_id, some))
        except QueueFull:
            return
        except InvalidInput:
            assert batch.stopping is not None
            assert batch.finished_as is None
            return
        if len(some):
            self.world.note(batch.batch_id, "redriven", (some, self.world.now.wall))

    @rule(seed=SEEDS, what=st.sampled_from(["purge", "hold", "release"]))
    def set_aside(self, seed: int, what: str) -> None:
        """Dead letters are given up; jobs wait for an equal one."""
        dice = Dice(seed)
        batch = self.pick(dice)
        if batch is None:
            return
        if what == "purge":
            some = dice.some(dead_letters(batch))
            self.world.note(batch.batch_id, "purged", some)
            self.world.tell(events.Purged(batch.batch_id, some))
            if len(some):
                with pytest.raises(InvalidInput):
                    self.world.tell(events.Redriven(batch.batch_id, some))
        else:
            kind = events.FollowersHeld if what == "hold" else events.FollowersReleased
            self.world.tell(kind(batch.batch_id, dice.some(np.arange(len(batch.jobs)))))

    @rule(seed=SEEDS)
    def change_queue(self, seed: int) -> None:
        dice = Dice(seed)
        policy = dice.one(None, dice.limits())
        paused = dice.one(None, False, False, False, True)
        self.world.change_queue(events.QueueChanged(dice.one(*QUEUES), policy, paused))

    # ------------------------------------------------------------------------------ workers

    def all_say_hello(self) -> None:
        for sim in self.world.workers.values():
            if not sim.met or sim.name not in self.state.workers:
                self.world.hello(sim)

    @rule(seed=SEEDS)
    def request(self, seed: int) -> None:
        sim = self.worker(Dice(seed))
        while self.world.request(sim):
            pass

    @rule(seed=SEEDS, error=st.none() | st.sampled_from(ERRORS))
    def report(self, seed: int, error: int | None) -> None:
        """The worker answers a lease, or the first jobs of it, with one error or with several."""
        dice = Dice(seed)
        sim = self.worker(dice)
        if not sim.held:
            return
        lease_id = dice.one(*sim.held)
        left = list(sim.held[lease_id].left)
        left = left[: dice.one(1, len(left), len(left))]
        self.world.report(sim, lease_id, {i: dice.one(*ERRORS) if error is None else error for i in left})

    @rule(seed=SEEDS, error=st.sampled_from(ERRORS))
    def work(self, seed: int, error: int) -> None:
        self.request(seed)
        self.report(seed, error)

    @rule(
        seed=SEEDS,
        error=st.sampled_from(ERRORS),
        again=st.sampled_from(ERRORS),
        expire=st.booleans(),
        redrive=st.booleans(),
    )
    def overtake(self, seed: int, error: int, again: int, expire: bool, redrive: bool) -> None:
        """One worker is cut off and loses its lease to another, and then reports after all."""
        self.request(seed)
        late = self.worker(Dice(seed))
        if expire:
            self.world.pass_time(61.0)
        else:
            for lease_id in late.held:
                self.world.tell(events.HandedBack(late.name, lease_id))
        other = self.worker(Dice(seed + 1))
        self.world.request(other)
        for lease_id, held in list(other.held.items()):
            if other is not late:
                self.world.report(other, lease_id, dict.fromkeys(held.left, error))
        if redrive:
            self.world.commit_all()
            self.redrive(seed)
        for lease_id, held in list(late.held.items()):
            self.world.report(late, lease_id, dict.fromkeys(held.left, again))
            self.world.send(late, late.unconfirmed[-1])

    @rule(seed=SEEDS, what=st.sampled_from(["hand back", "report", "die", "nothing"]))
    def cancel_what_runs(self, seed: int, what: str) -> None:
        dice = Dice(seed)
        self.request(seed)
        sim = self.worker(dice)
        for held in list(sim.held.values()):
            batch = self.state.batches.get(held.batch_id)
            if batch is not None and batch.stopping is None and batch.finished_as is None:
                self.stop(batch)
        if what == "die":
            self.die(dice, True, True, False)
        for lease_id, held in list(sim.held.items()):
            if what == "report":
                self.world.report(sim, lease_id, {i: dice.one(*ERRORS) for i in held.left})
            if what == "hand back":
                del sim.held[lease_id]
                self.world.tell(events.HandedBack(sim.name, lease_id))

    @rule(seed=SEEDS, what=st.sampled_from(["send again", "hand back", "heartbeat", "false alarm", "leave"]))
    def misbehave(self, seed: int, what: str) -> None:
        dice = Dice(seed)
        sim = self.worker(dice)
        match what:
            case "send again" if sim.unconfirmed:  # the answer to the report was lost
                self.world.send(sim, sim.unconfirmed[0])
            case "hand back" if sim.held:
                lease_id = dice.one(*sim.held)
                del sim.held[lease_id]
                self.world.tell(events.HandedBack(sim.name, lease_id))
            case "heartbeat":
                self.world.heartbeat(sim)
            case "false alarm":
                self.world.tell(events.WorkerLost(sim.name, sim.incarnation, "the line was cut"))
                self.world.hello(sim)
            case "leave":
                del self.world.workers[sim.name]
                self.world.tell(events.WorkerLeft(sim.name, sim.incarnation))

    @rule(seed=SEEDS, ahead=st.booleans())
    def cancel_some_of_what_is_held(self, seed: int, ahead: bool) -> None:
        """Who holds it hands back what it has not begun: that was cancelled ends there, the rest waits as before."""
        dice = Dice(seed)
        sim = self.worker(dice)
        while self.world.request(sim):
            pass
        for lease_id, held in list(sim.held.items()):
            batch = self.state.batches.get(held.batch_id)
            if batch is None or batch.finished_as is not None or lease_id not in self.state.leases:
                continue
            now_asked = self.cancel_jobs(batch, dice.some(np.array(sorted(held.left)))).tolist()
            asked = {*now_asked, *batch.cancel_asked}  # some were cancelled in an earlier step
            if not ahead:
                self.world.report(sim, lease_id, {next(iter(held.left)): dice.one(*ERRORS)})
            if lease_id not in self.state.leases:
                continue
            rest, charged = self.state.unanswered(self.state.leases[lease_id]), batch.jobs.attempts.copy()
            sim.held.pop(lease_id, None)
            self.world.tell(events.HandedBack(sim.name, lease_id))
            assert (batch.jobs.attempts == charged).all(), "charged for what was not begun"
            for index in rest.tolist() if batch.stopping is None else ():
                state = JobState.of(int(batch.jobs.state[index]))
                assert state is (JobState.CANCELLED if index in asked else JobState.QUEUED)

    @rule(seed=SEEDS, what=st.sampled_from(["open", "open", "half open", "closed", "forced", "outage", "outage"]))
    def break_circuit(self, seed: int, what: str) -> None:
        """A dependency of a verifier goes down for a worker, is probed, or comes back."""
        dice = Dice(seed)
        sim = self.worker(dice)
        verifier, name = dice.one(*VERIFIERS), dice.one(*DEPENDENCIES)
        more = {"probes": dice.number(1, 3), "blocks": dice.one(True, True, True, False)}
        rest_s = dice.one(0.2, 5.0, 40.0)
        match what:
            case "open":
                self.world.set_breaker(
                    sim, verifier, name, BreakerState.OPEN, retry_at=self.world.now.mono + rest_s, **more
                )
            case "half open" | "closed":
                for key in sim.breakers:
                    self.world.set_breaker(sim, *key, BreakerState(what.replace(" ", "_")), **more)
            case "forced":
                self.world.set_breaker(sim, verifier, name, BreakerState.OPEN, retry_at=float("inf"), **more)
            case "outage":
                self.world.lose_dependency(sim, verifier, name, rest_s)
        self.world.show_breakers(sim)
        while self.world.request(sim):
            pass

    @rule(seed=SEEDS, seconds=st.sampled_from([1.5, 4.0]), others_first=st.booleans())
    def hog(self, seed: int, seconds: float, others_first: bool) -> None:
        """One worker takes what there is and is slow, while the others have nothing to do or little."""
        dice = Dice(seed)
        first = self.worker(dice)
        for lease_id, held in list(first.held.items()):
            self.world.report(first, lease_id, dict.fromkeys(held.left, 0))
        for sim in sorted(self.world.workers.values(), key=lambda w: (w is first) == others_first):
            if not sim.met or sim.name not in self.state.workers:
                self.world.hello(sim)
            if sim is not first:
                for lease_id, held in list(sim.held.items()):
                    self.world.report(sim, lease_id, dict.fromkeys(held.left, 0))
            while self.world.request(sim):
                pass
        self.world.pass_time(seconds)
        self.world.pass_time(0.3)  # before anybody has answered
        self.make_way(seed)

    @rule(seed=SEEDS)
    def make_way(self, seed: int) -> None:
        """Who was asked to makes room: it goes on with the item at hand and hands back what it has not begun."""
        dice = Dice(seed)
        for lease_id, name in [*self.world.yields.items(), *self.world.cut.items()]:
            sim = self.world.workers.get(name)
            if sim is None or not sim.met or name not in self.state.workers:  # forgotten, if it was silent
                continue
            if lease_id not in sim.held or dice.one(False, False, True):
                continue
            self.world.report(sim, lease_id, {next(iter(sim.held[lease_id].left)): dice.one(*ERRORS)})
            if lease_id in sim.held:
                del sim.held[lease_id]
                self.world.tell(events.HandedBack(name, lease_id))
            self.world.request(sim)

    @rule(seed=SEEDS, noticed=st.booleans(), back=st.sampled_from([True, True, False]), marked=st.booleans())
    def kill_worker(self, seed: int, noticed: bool, back: bool, marked: bool) -> None:
        self.die(Dice(seed), noticed, back, marked)

    @rule(seed=SEEDS, marked=st.booleans(), limited=st.booleans(), times=st.integers(2, 6))
    def poison(self, seed: int, marked: bool, limited: bool, times: int) -> None:
        """Every worker that starts on this work dies of it; meanwhile the queues are made narrow."""
        for _ in range(times):
            self.request(seed)
            self.die(Dice(seed), True, True, marked)
            self.world.check()
            for queue in QUEUES if limited else ():
                self.world.change_queue(events.QueueChanged(queue, QueuePolicy(concurrency=1)))

    @rule(
        seed=SEEDS,
        told=st.sampled_from(["by notice", "by itself"]),
        times=st.integers(1, 3),
        marked=st.booleans(),
        seconds=st.sampled_from([0.0, 0.3, 31.0, 61.0]),
    )
    def run_out_of_memory(self, seed: int, told: str, times: int, marked: bool, seconds: float) -> None:
        """A node, not a worker's own cap: its suspects wait for it, until it is empty or for too long."""
        for name in WORKERS:
            self.request_by(name)
        for _ in range(times):
            if told == "by notice":
                self.die(Dice(seed), True, marked, marked, cause=LOW_MEMORY)
            else:
                self.die(Dice(seed), True, True, marked, death=OUT_OF_MEMORY)
            self.world.check()
            self.request(seed)
        if seconds:
            self.world.pass_time(seconds)
            for name in Dice(seed).shuffled(*WORKERS):
                self.request_by(name)

    def request_by(self, name: str) -> None:
        sim = self.world.workers.get(name)
        while sim is not None and sim.met and name in self.state.workers and self.world.request(sim):
            pass

    def die(
        self,
        dice: Dice,
        noticed: bool,
        back: bool,
        marked: bool,
        cause: str = "killed",
        death: Death | None = None,
    ) -> None:
        sim = self.worker(dice)
        mark = None
        if marked and sim.held:
            lease_id, held = next(iter(sim.held.items()))
            mark = (lease_id, dice.one(*held.left))
        self.world.die(sim.name, noticed, cause)
        if back:
            again = self.world.workers[sim.name] = SimWorker(sim.name, f"{sim.name}-{next(self.world.serial)}")
            self.world.hello(again, mark, death)

    # ---------------------------------------------------------------------- time and trouble

    @rule(seconds=st.sampled_from([0.3, 2.5, 9.0, 61.0]), trouble=st.sampled_from([None, None, None, "clock", "disk"]))
    def pass_time(self, seconds: float, trouble: str | None) -> None:
        """Now and then the wall clock is put forward or back, or the disk is full until the next time."""
        self.world.tell(events.StorageHealth("disk full" if trouble == "disk" else None))
        self.world.pass_time(seconds, jump={"clock": 3600.0 if seconds < 5.0 else -3600.0}.get(trouble or "", 0.0))

    @rule(n=st.none() | st.integers(1, 4))
    def commit(self, n: int | None) -> None:
        self.world.commit(n)

    @precondition(lambda self: self.state.epoch < 3)
    @rule(seed=SEEDS, found=st.sampled_from(["at once", "late", "by one"]), torn=st.integers(0, 3))
    def crash(self, seed: int, found: str, torn: int) -> None:
        """The manager is killed; its workers find the next one at once, or when one of them has new work already."""
        self.world.crash(torn)
        if found == "late":
            self.world.pass_time(3.0)
            self.request(seed)
        if found != "by one":
            self.all_say_hello()

    @invariant()
    def all_is_well(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.drain()
        finally:
            ending.FINISHED_KEPT = self.kept


def soak(examples: int, steps: int = 100) -> None:
    """Run the machine for longer than the unit tests do."""
    many = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ManagerMachine, settings=many)


def test_each_job_gets_one_outcome_whatever_happens() -> None:
    steady = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ManagerMachine, settings=steady)
