"""The random kills of tests/cluster, with other seeds: DFBATCH_SOAK_SEEDS of them, three if that is not set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = int(os.environ.get("DFBATCH_SOAK_SEEDS", "3"))
CHAOS = Path(__file__).parents[1] / "cluster" / "chaos.py"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_random_kills_lose_and_double_nothing(head_node: str, tmp_path: Path, seed: int) -> None:
    """100,000 jobs under SIGKILL of manager, workers and drivers: exactly one outcome each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(CHAOS), "referee", head_node, str(tmp_path / "ledger"), str(seed)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "DFBATCH_PROGRESS": "off"},
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-6000:]}"
    print(done.stdout)
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 100_000
