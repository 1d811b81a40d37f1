"""What containment costs an item: a call through a breaker, the position mark, and its share of a heartbeat.

    python -m benchmarks.breaker_cost [--quick] [--out FOLDER]

Each is measured by itself, against an empty loop, and told in microseconds. The goal
is their sum as a share of an item of one millisecond. A heartbeat is made once a
second, so that its cost is shared by the thousand items of that second; it holds the
states of ten breakers, is pickled as Ray would, and is taken by the rules of a manager.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Findings, Goal, Measurement, command
from dfbatch.actors.breaker_book import BreakerBook
from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.context import JobContext
from dfbatch.actors.job_news import JobNews
from dfbatch.actors.messages import Beat
from dfbatch.actors.position_mark import PositionMark
from dfbatch.core import events
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState

ITEM_S = 1e-3
BOUND = 0.01
ROUNDS = 5
BEATS_PER_S = 1.0


def nothing(x: int) -> int:
    return x


def best_of(rounds: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest round: the others were disturbed."""
    found = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        found = min(found, time.perf_counter() - begin)
    return found


def empty_loop(n: int) -> None:
    for k in range(n):
        nothing(k)


def through_a_breaker(n: int, context: JobContext) -> None:
    for k in range(n):
        context.breaker("scorer").call(nothing, k)


def through_a_block(n: int, context: JobContext) -> None:
    for k in range(n):
        with context.breaker("scorer"):
            nothing(k)


def marked(n: int, mark: PositionMark) -> None:
    cells = mark.cells
    for k in range(n):
        cells[1] = k
        nothing(k)


def beats(n: int, context: JobContext, state: ManagerState) -> None:
    """Made, pickled, unpickled, and taken by a manager."""
    book, breakers, news, now = BreakerBook(), context.breakers, JobNews(context), Instant(1.7e9, 0.0)
    for k in range(n):
        beat = Beat("w", "1", 1, (1, 2), news.take(), ("k3f2m9qx", k, 0.0), 1 << 28, False, breakers.report())
        taken: Beat = pickle.loads(pickle.dumps(beat, protocol=5))
        state.handle(events.Heartbeat(taken.worker, ()), now)
        assert taken.breakers is not None
        seen, _ = book.take("w", f"{k}", taken.breakers, now.mono)
        state.handle(events.BreakersSeen("w", seen or ()), now)


def measure(quick: bool) -> Findings:
    n, n_beats = (2_000, 20) if quick else (200_000, 2_000)
    context = JobContext(breakers=WorkerBreakers())
    context.breakers.begin("v1")
    state = ManagerState()
    state.handle(events.WorkerHello("w", "1"), Instant(1.7e9, 0.0))
    for k in range(9):
        context.breaker(f"dependency-{k}").call(nothing, k)
    with tempfile.TemporaryDirectory() as folder:
        base_s = best_of(ROUNDS, lambda: empty_loop(n))
        call_s = best_of(ROUNDS, lambda: through_a_breaker(n, context))
        block_s = best_of(ROUNDS, lambda: through_a_block(n, context))
        mark_s = best_of(ROUNDS, lambda: marked(n, PositionMark(Path(folder), "w")))
        beat_s = best_of(ROUNDS, lambda: beats(n_beats, context, state)) / n_beats
    per_call, per_block, per_mark = ((t - base_s) / n for t in (call_s, block_s, mark_s))
    per_item = per_call + per_mark + beat_s * BEATS_PER_S * ITEM_S
    runs = [
        Measurement("empty loop", "best", n, base_s),
        Measurement("breaker.call", "best", n, call_s),
        Measurement("with breaker", "best", n, block_s),
        Measurement("position mark", "best", n, mark_s),
        Measurement("heartbeat", "best", n_beats, beat_s * n_beats),
    ]
    facts = {
        "breaker call (us)": round(per_call * 1e6, 3),
        "with breaker (us)": round(per_block * 1e6, 3),
        "position mark (us)": round(per_mark * 1e6, 3),
        "heartbeat (us, once a second)": round(beat_s * 1e6, 1),
        "all three per item (us)": round(per_item * 1e6, 3),
        "share of a 1 ms item": f"{per_item / ITEM_S:.3%}",
    }
    note = f"{per_item * 1e6:.2f} us an item; the fastest of {ROUNDS} rounds"
    return Findings(runs, [Goal("share of a 1 ms item", BOUND, per_item / ITEM_S, "", note=note)], facts)


def main() -> None:
    command("breaker_cost", "What breaker, position mark and heartbeat cost an item of one millisecond.", measure)


if __name__ == "__main__":
    main()
