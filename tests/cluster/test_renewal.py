"""Workers that make room for fresh processes, on real Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfbatch.client.client import Client

N = 2_000


def test_a_fresh_process_knows_which_dependency_is_down(
    client: Client, tmp_path: Path, until: Callable[..., None]
) -> None:
    """The breaker of the first process opens at its first call; those after it, under other names, call nobody."""
    calls, runs = str(tmp_path / "calls"), str(tmp_path / "runs")

    def verify(item: int, ctx: Any) -> int:
        import os

        def note(path: str) -> None:
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\n")

        def down() -> None:
            note(calls)
            raise OSError("down")

        note(runs)
        ctx.breaker("scorer", minimum_calls=1, open_s=300.0, open_max_s=300.0).call(down, fallback=None)
        return item

    client.scale(1, 1)
    until(lambda: len(client.workers()) == 1)
    batch = client.map(verify, range(N), recycle_after_items=500).wait(300)
    client.scale(0, 2)
    assert batch.results().values() == list(range(N))
    ran = Counter(Path(runs).read_text().split())
    assert sum(ran.values()) == N
    assert len(ran) >= 2, "no process was renewed"
    assert len(Path(calls).read_text().split()) == 1, "a fresh process had to learn it again"
