"""When a worker is alive, and when it leases."""

from __future__ import annotations

import pytest

from dfbatch.actors.vitals import LIVE_S, REACHED_S, Vitals

NOW = 1000.0


@pytest.mark.parametrize(
    ("vitals", "live", "ready", "state"),
    [
        (Vitals(NOW, NOW, True, False), True, True, "idle"),
        (Vitals(NOW, NOW, True, False, "k3f2m9qx-1"), True, True, "running"),
        (Vitals(NOW, NOW, False, False), True, False, "starting"),  # it has not said hello
        (Vitals(NOW, NOW, True, True, "k3f2m9qx-1"), True, False, "draining"),
        (Vitals(NOW, NOW - REACHED_S, True, False), True, False, "idle"),  # the manager is away
        (Vitals(NOW - LIVE_S, NOW, True, False), False, False, "idle"),  # its heart has stopped
    ],
)
def test_vitals(vitals: Vitals, live: bool, ready: bool, state: str) -> None:
    assert (vitals.is_live(NOW), vitals.is_ready(NOW), vitals.state) == (live, ready, state)
