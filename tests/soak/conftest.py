"""The long tests use the fixtures of tests/cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SOURCE = Path(__file__).parents[1] / "cluster" / "conftest.py"
_spec = importlib.util.spec_from_file_location("cluster_fixtures", _SOURCE)
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

head_node = _fixtures.head_node
random_kills = _fixtures.random_kills
until = _fixtures.until
