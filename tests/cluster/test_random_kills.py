"""Random SIGKILL of manager, workers and drivers under load: exactly one outcome for each of 100,000 jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SEED = 20260


@pytest.mark.timeout(600)
def test_random_kills_of_manager_workers_and_drivers_lose_and_double_nothing(
    random_kills: Callable[[int], None],
) -> None:
    """The whole story is in chaos.py. tests/soak does the same with other seeds."""
    random_kills(SEED)
