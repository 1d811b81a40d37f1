"""Real sample media to try dfbatch on, made on the spot, each with what is expected of it.

Nothing is downloaded: the photographs come with scikit-image and scikit-learn, all
else is made by seeded code, and certificates are created anew on each call.
"""

from __future__ import annotations

from pathlib import Path

from dfbatch.samples.sample import Sample, SampleSet, load_samples

__all__ = ["Sample", "SampleSet", "load_samples", "make_samples"]


def make_samples(folder: str | Path, *, seed: int = 7) -> SampleSet:
    """Write about fifty media files into ``folder``, and ``expected.json`` and ``trust.pem`` into its ``.truth``.

    The folder is made if missing. Files of the same names are overwritten, others
    are left alone. Pixels, sounds and page contents depend on ``seed`` (an int of
    at least 0) only; signatures differ from call to call, as their keys do. Raises
    InvalidInput for a folder or seed that cannot be used, and DfbatchError if a
    package that brings the photographs is not installed.
    """
    from dfbatch.samples.maker import write_samples

    return write_samples(folder, seed)
