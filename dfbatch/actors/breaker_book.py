"""What the manager's shell keeps of the workers' circuit breakers: reports in order, and rows for ``events``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dfbatch.actors.messages import BreakerReport, BreakerTurn
from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.token_bucket import TokenBucket
from dfbatch.ledger.schemas import EVENTS

KIND = "breaker"
"""The kind of the rows in ``events``."""
ORDER_KIND = "breaker_order"
"""That of the rows with an operator's word."""
MOST_ORDERS = 500
"""They go to every worker with every answer."""
TURNS_PER_S = 20.0
TURNS_AT_ONCE = 1_000.0


class BreakerBook:
    """Reports of one worker come by two ways and may be repeated; each counts once."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int, int]] = {}
        """By worker: incarnation, number of its newest report, newest turn."""
        self._bucket: TokenBucket | None = None
        self.n_dropped = 0
        """Turns that were too many to be written."""
        self.orders: dict[str, tuple[float, str]] = {}
        """What the operator said last of each dependency: when (wall seconds), and ``force_open`` or ``reset``."""

    def take(
        self, worker: str, incarnation: str, report: BreakerReport, now_mono: float
    ) -> tuple[tuple[BreakerSeen, ...] | None, list[BreakerTurn]]:
        """(breakers as they are, None if a newer report was there before; turns not heard of before, in order)."""
        known, number, turn = self._seen.get(worker, (incarnation, 0, 0))
        if known != incarnation:
            number = turn = 0
        news = [t for t in report.turns if t.seq > turn]
        newest = max((t.seq for t in news), default=turn)
        self._seen[worker] = (incarnation, max(number, report.number), newest)
        return (_seen(report, now_mono) if report.number > number else None), self._bounded(news, now_mono)

    def order(self, name: str, at: float, order: str) -> None:
        """The operator's newest word on a dependency; of very many the oldest are forgotten."""
        self.orders.pop(name, None)
        self.orders[name] = (at, order)
        while len(self.orders) > MOST_ORDERS:
            del self.orders[next(iter(self.orders))]

    def recall_orders(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """What the operator said in earlier lives of the manager; ``rows`` of ``events``, in order.

        With the same times, so that workers who have obeyed do not obey again.
        """
        for row in rows:
            if row["kind"] == ORDER_KIND:
                detail = row["detail"]
                self.order(detail["dependency"], detail.get("at", row["at"].timestamp()), detail["order"])

    def forget(self, worker: str) -> None:
        """A worker has left: its breakers are shown no more. Orders stay."""
        self._seen.pop(worker, None)

    def _bounded(self, turns: list[BreakerTurn], now_mono: float) -> list[BreakerTurn]:
        if not turns:
            return turns
        if self._bucket is None:
            self._bucket = TokenBucket.full(TURNS_PER_S, now_mono, TURNS_AT_ONCE)
        taken = turns[: self._bucket.available(now_mono)]
        self._bucket.take(len(taken))
        self.n_dropped += len(turns) - len(taken)
        return taken


def _seen(report: BreakerReport, now_mono: float) -> tuple[BreakerSeen, ...]:
    return tuple(
        BreakerSeen(
            view.verifier,
            view.name,
            BreakerState(view.state),
            now_mono + view.retry_after_s,
            view.probes,
            view.blocks,
            view.failure_rate,
            view.slow_rate,
            view.opened,
            view.last_error,
        )
        for view in report.views
    )


def turn_rows(worker: str, turns: Sequence[BreakerTurn], epoch: int, first_seq: int) -> pa.Table:
    """Rows of ``events``, in the order given. ``detail``: dependency, from, to, cause, detail, verifier."""
    rows = [
        {
            "batch_id": None,
            "at": datetime.fromtimestamp(turn.at, UTC),
            "kind": KIND,
            "queue": None,
            "worker_id": worker,
            "detail": json.dumps(
                {
                    "dependency": turn.name,
                    "from": turn.before,
                    "to": turn.after,
                    "cause": turn.cause,
                    "detail": turn.detail,
                    "verifier": turn.verifier,
                }
            ),
            "epoch": epoch,
            "seq": first_seq + k,
        }
        for k, turn in enumerate(turns)
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS.arrow)


def shown_breakers(breakers: Sequence[BreakerSeen], now_mono: float) -> list[dict[str, Any]]:
    """What ``client.workers()`` tells of them. ``retry_after_s`` is None unless it opens by itself after a time."""
    return [
        {
            "name": b.name,
            "state": b.state.value,
            "failure_rate": b.failure_rate,
            "slow_rate": b.slow_rate,
            "retry_after_s": _retry_after_s(b, now_mono),
            "opened": b.opened,
            "last_error": b.last_error or None,
            "verifier": b.verifier,
        }
        for b in breakers
    ]


def _retry_after_s(breaker: BreakerSeen, now_mono: float) -> float | None:
    if breaker.state is not BreakerState.OPEN or breaker.retry_at == float("inf"):
        return None
    return max(0.0, round(breaker.retry_at - now_mono, 3))
