"""A warm client on a private Ray and a ledger in a temporary folder, and what it is made to do."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import dfbatch
from dfbatch.client.client import Client

WORKERS = 2
WARM_ITEMS = 20_000


class Echo:
    """Work that does nothing, on a chunk at once."""

    def verify_batch(self, table: pa.Table) -> Any:
        return table.column("item")


def same(item: Any) -> Any:
    """Work that does nothing, item by item."""
    return item


class Waiting:
    """Takes ``cost_s`` seconds an item without using the CPU, a chunk at once."""

    def __init__(self, cost_s: float) -> None:
        self._cost_s = cost_s

    def verify_batch(self, table: pa.Table) -> Any:
        time.sleep(self._cost_s * len(table))
        return table.column("item")


@contextlib.contextmanager
def ledger_folder() -> Iterator[Path]:
    """A folder on the disk of this machine (TMPDIR chooses it), removed at the end."""
    with tempfile.TemporaryDirectory(prefix="dfbatch-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "ledger"


@contextlib.contextmanager
def embedded(storage_path: Path | None = None, workers: int = WORKERS) -> Iterator[Client]:
    """An open client without progress bars; its workers are not yet warm."""
    os.environ["DFBATCH_PROGRESS"] = "off"
    with contextlib.ExitStack() as stack:
        place = storage_path or stack.enter_context(ledger_folder())
        yield stack.enter_context(dfbatch.connect(storage_path=place, workers=workers))


def warm_up(client: Client, verifier: Any = same) -> None:
    """Start the workers, and let each load the verifier."""
    client.map(verifier, np.arange(WARM_ITEMS), name="warm-up").wait()


def until(reached: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look every 5 ms. Raises RuntimeError that says what did not happen."""
    end = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not happen within {timeout_s:g} s, so there is nothing to measure")
        time.sleep(0.005)


def expect_all(batch: Any, n: int) -> None:
    """A time means something only if every job has succeeded."""
    counts = batch.counts()
    if counts != {"succeeded": n}:
        raise RuntimeError(f"Batch {batch.id} ended with {counts}, not with {n:,} successes: its time means nothing")
