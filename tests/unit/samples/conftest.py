from __future__ import annotations

from pathlib import Path

import pytest

from dfbatch.samples import SampleSet, make_samples
from dfbatch.samples.photographs import Album


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """The sample folder, made once."""
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def folder(made: SampleSet) -> Path:
    return made.folder


@pytest.fixture(scope="session")
def album() -> Album:
    return Album()
