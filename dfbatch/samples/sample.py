"""What one sample is and what dfbatch should say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dfbatch.errors import InvalidInput

EXPECTED_JSON = ".truth/expected.json"
TRUST_LIST = ".truth/trust.pem"
"""Both in a hidden folder: verifying the folder of samples must take the samples alone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of the folder.

    ``kind`` is ``image | video | audio | pdf``, as the maker meant it; ``what`` is one
    sentence. ``verdict`` and ``provenance_state`` are expected without a trust list,
    the ``trusted_`` pair with ours; they are None where the item must fail, and then
    ``error_type`` names the error class. ``control`` is the untouched file that went
    through the same final encoder as a forged one.
    """

    file: str
    kind: str
    what: str
    verdict: str | None = "inconclusive"
    provenance_state: str | None = "none"
    error_type: str | None = None
    trusted_verdict: str | None = None
    trusted_provenance_state: str | None = None
    control: str | None = None

    def __post_init__(self) -> None:
        if self.error_type is not None:
            object.__setattr__(self, "verdict", None)
            object.__setattr__(self, "provenance_state", None)
            return
        if self.trusted_verdict is None:
            object.__setattr__(self, "trusted_verdict", self.verdict)
        if self.trusted_provenance_state is None:
            state = "trusted" if self.provenance_state == "valid" else self.provenance_state
            object.__setattr__(self, "trusted_provenance_state", state)

    @property
    def group(self) -> str:
        """First word of the name: ``photo, odd, forged, c2pa, declared, video, audio, pdf, broken``."""
        return self.file.partition("-")[0]


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A sample and its bytes, before they are written."""

    sample: Sample
    data: bytes


@dataclass(frozen=True, slots=True)
class SampleSet:
    """A folder of samples. ``trust_list`` is the PEM file with the anchor of our own C2PA signer."""

    folder: Path
    samples: tuple[Sample, ...]
    trust_list: Path

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __getitem__(self, file: str) -> Sample:
        for sample in self.samples:
            if sample.file == file:
                return sample
        raise KeyError(file)

    def path(self, sample: Sample | str) -> Path:
        """Where the file of a sample lies."""
        return self.folder / (sample if isinstance(sample, str) else sample.file)

    def paths(self) -> list[Path]:
        """The files of all samples, in the order of ``samples``."""
        return [self.path(sample) for sample in self.samples]


def expected_json(samples: tuple[Sample, ...]) -> str:
    """The text of ``expected.json``: a list of objects, one a sample, keys as the fields of ``Sample``."""
    return json.dumps([asdict(sample) for sample in samples], indent=1) + "\n"


def load_samples(folder: str | Path) -> SampleSet:
    """The samples that ``make_samples`` wrote into ``folder`` earlier. Raises InvalidInput if there are none."""
    path = Path(folder)
    try:
        entries = json.loads((path / EXPECTED_JSON).read_text(encoding="utf-8"))
        samples = tuple(Sample(**entry) for entry in entries)
    except (OSError, ValueError, TypeError) as problem:
        raise InvalidInput(
            "folder", f"{str(path)!r} holds no samples ({problem})", "Write them with dfbatch.samples.make_samples()"
        ) from problem
    return SampleSet(path, samples, path / TRUST_LIST)
