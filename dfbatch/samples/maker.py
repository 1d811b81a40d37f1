"""Makes all samples and writes them into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dfbatch.errors import InvalidInput
from dfbatch.samples.broken import broken_files
from dfbatch.samples.certificates import Identity, new_identity
from dfbatch.samples.credentials import credential_files
from dfbatch.samples.declared import declared_files
from dfbatch.samples.documents import document_files
from dfbatch.samples.forgeries import forged_files
from dfbatch.samples.odd import odd_files
from dfbatch.samples.photographs import Album, photograph_files
from dfbatch.samples.recordings import recording_files
from dfbatch.samples.sample import EXPECTED_JSON, TRUST_LIST, SampleFile, SampleSet, expected_json


def write_samples(folder: str | Path, seed: int) -> SampleSet:
    """Behind ``make_samples``: every file, then ``expected.json``, which is the last to appear."""
    if type(seed) is not int or seed < 0:
        raise InvalidInput("seed", f"{seed!r} is no whole number of at least 0")
    root = _made_folder(folder)
    identity = new_identity("Camera")
    (root / EXPECTED_JSON).unlink(missing_ok=True)
    samples = []
    for made in sample_files(seed, identity):
        (root / made.sample.file).write_bytes(made.data)
        samples.append(made.sample)
    trust_list = root / TRUST_LIST
    trust_list.write_bytes(identity.anchor_pem)
    (root / EXPECTED_JSON).write_text(expected_json(tuple(samples)), encoding="utf-8")
    return SampleSet(root, tuple(samples), trust_list)


def sample_files(seed: int, identity: Identity) -> Iterator[SampleFile]:
    """All samples, one after the other. Each group has its own stream of chance, so groups do not disturb others."""
    album = Album()

    def chance(group: int) -> np.random.Generator:
        return np.random.default_rng([seed, group])

    yield from photograph_files(album)
    yield from odd_files(album)
    yield from forged_files(album, chance(1))
    yield from credential_files(album, identity, chance(2))
    yield from declared_files(album, chance(3))
    yield from recording_files(album, chance(4))
    yield from document_files(album, identity)
    yield from broken_files(album, chance(5))


def _made_folder(folder: str | Path) -> Path:
    root = Path(folder).expanduser()
    try:
        (root / EXPECTED_JSON).parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(
            "folder", f"{str(root)!r} cannot be made ({problem.strerror})", "Name a folder you may write to"
        ) from problem
    return root
