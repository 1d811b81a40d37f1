"""Random SIGKILL of manager, workers and drivers under load: exactly one outcome for each of 100,000 jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEED = 20260


@pytest.mark.timeout(240)
def test_random_kills_of_manager_workers_and_drivers_lose_and_double_nothing(head_node: str, tmp_path: Path) -> None:
    """The whole story is in chaos.py. tests/soak does the same with ten other seeds."""
    script = Path(__file__).with_name("chaos.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "referee", head_node, str(tmp_path / "ledger"), str(SEED)],
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
        env={**os.environ, "DFBATCH_PROGRESS": "off"},
    )
    assert done.returncode == 0, f"seed {SEED}: {done.stderr[-6000:]}"
    print(done.stdout)
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 100_000
