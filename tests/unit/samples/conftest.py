from __future__ import annotations

from pathlib import Path

import pytest

from dfbatch.samples import SampleSet
from dfbatch.samples.photographs import Album


@pytest.fixture(scope="session")
def folder(made: SampleSet) -> Path:
    return made.folder


@pytest.fixture(scope="session")
def album() -> Album:
    return Album()
