"""The machine of the unit tests, for longer and each time anew: anything happens to the manager's rules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SOURCE = Path(__file__).parents[1] / "unit" / "core" / "test_manager_machine.py"


def test_nothing_is_lost_in_a_hundred_thousand_steps() -> None:
    spec = importlib.util.spec_from_file_location("manager_machine", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    machine = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = machine  # dataclasses look their module up
    spec.loader.exec_module(machine)
    machine.soak(examples=1_500, steps=70)
