"""One bad item costs one row: whatever an item does to its worker, its neighbours succeed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dfbatch.client.client import Client
from dfbatch.core.retry import Retry

N = 2_000
CAP_BYTES = 600 << 20
TIMEOUT_S = 12.0
"""An item that is merely paused with its machine takes no longer, nor does one that uses up the memory."""
KILLERS: dict[int, tuple[str, str]] = {
    150: ("raise", "ValueError"),
    420: ("exit", "WorkerCrash"),
    777: ("segfault", "WorkerCrash"),
    1_100: ("allocate", "HostOutOfMemory"),
    1_300: ("allocate unseen", "HostOutOfMemory"),
    1_500: ("hang", "ItemTimeout"),
    1_800: ("hang with the GIL", "ItemTimeout"),
}
"""What an item does, and the type of error that its row must show."""


def misbehave(how: str) -> None:
    """Do to the worker what one bad item may do."""
    import ctypes
    import mmap
    import os
    import time

    match how:
        case "raise":
            raise ValueError("This item cannot be read.")
        case "exit":
            os._exit(13)
        case "segfault":
            ctypes.string_at(0)
        case "allocate":
            bytearray(1 << 30)
        case "allocate unseen":
            # Shared pages are no data of the process, so that no limit of the system refuses them.
            shared = mmap.mmap(-1, 1 << 30)
            for at in range(0, 1 << 30, 1 << 20):
                shared[at : at + (1 << 20)] = b"x" * (1 << 20)
                time.sleep(0.002)
            time.sleep(60)
        case "hang":
            while True:
                time.sleep(1.0)
        case "hang with the GIL":
            ctypes.PyDLL(None).sleep(600)


def test_every_item_that_harms_its_worker_is_one_dead_letter_and_all_others_succeed(client: Client) -> None:
    """2,000 items, seven of them bad, each in its own way."""
    bad = {index: how for index, (how, _) in KILLERS.items()}

    def verify(item: int) -> int:
        if item in bad:
            misbehave(bad[item])
        return 2 * item

    # One try, and one death alone: each costs a new process, and those are not what is tested here.
    few: dict[str, Any] = {"retry": Retry(max_attempts=1), "max_worker_deaths": 1}
    batch = client.map(verify, range(N), timeout_s=TIMEOUT_S, memory=CAP_BYTES, **few)
    batch.wait(timeout=400)

    rows: list[dict[str, Any]] = batch.results().to_arrow().to_pylist()
    assert [row["job_index"] for row in rows] == list(range(N)), "not one row a job"
    failed = {row["job_index"]: row for row in rows if row["status"] != "succeeded"}
    assert {index: row["error_type"] for index, row in failed.items()} == {k: v for k, (_, v) in KILLERS.items()}
    assert Counter(row["status"] for row in rows) == {"succeeded": N - len(KILLERS), "failed": len(KILLERS)}
    assert all(row["output"]["value"] == 2 * row["job_index"] for row in rows if row["status"] == "succeeded")
    assert {letter["job_index"] for letter in batch.dead_letters()} == set(KILLERS)
    told = {how: failed[index] for index, (how, _) in KILLERS.items()}
    assert "Segmentation fault" in told["segfault"]["error_message"]
    assert all("in misbehave" in told[how]["traceback"] for how in ("raise", "segfault", "hang", "hang with the GIL"))
    assert "MemoryError" in told["allocate"]["error_message"]
    assert "of the 600 MiB" in told["allocate unseen"]["error_message"]
    assert {row["worker_deaths"] for row in failed.values()} == {0, 1}
    assert all(row["verifier_fingerprint"] and row["attempts"] <= 1 for row in rows)
