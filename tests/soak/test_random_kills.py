"""The random kills of tests/cluster, with other seeds: DFBATCH_SOAK_SEEDS of them, ten if that is not set."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

SEEDS = int(os.environ.get("DFBATCH_SOAK_SEEDS", "10"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_random_kills_lose_and_double_nothing(random_kills: Callable[[int], None], seed: int) -> None:
    """100,000 jobs under SIGKILL of manager, workers and drivers: exactly one outcome each."""
    random_kills(seed)
