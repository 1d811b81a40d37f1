"""Ids a person can type: ``k3f2m9qx`` for a batch, ``k3f2m9qx-17`` for a job.

A batch id is eight letters of lower-case Crockford base 32: five for the minutes
since 2025, so that ids sort by time, and three random ones.
"""

from __future__ import annotations

import random
import re

from dfbatch.errors import InvalidInput

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH_2025 = 1_735_689_600
_BATCH = re.compile(rf"[{_ALPHABET}]{{8}}")
_LOOKALIKES = str.maketrans({"i": "1", "l": "1", "o": "0", "u": "v"})


def new_batch_id(wall: float, rng: random.Random) -> str:
    """A fresh id for a batch submitted at ``wall`` (seconds since 1970)."""
    minutes = max(0, int(wall - _EPOCH_2025) // 60)
    return _base32(minutes, 5) + _base32(rng.randrange(32**3), 3)


def job_id(batch_id: str, index: int) -> str:
    """``<batch id>-<index>``."""
    return f"{batch_id}-{index}"


def parse_id(text: str) -> tuple[str, int | None]:
    """``(batch_id, index)`` of a batch or job id; the index is None for a batch.

    Upper case and the look-alikes i, l, o are forgiven, as Crockford intended.
    Raises InvalidInput if the text is neither.
    """
    batch, dash, index = str(text).strip().lower().partition("-")
    batch = batch.translate(_LOOKALIKES)
    if not _BATCH.fullmatch(batch) or (dash and not index.isdecimal()):
        raise InvalidInput("id", f"{text!r} is no batch id like 'k3f2m9qx' and no job id like 'k3f2m9qx-17'")
    return batch, int(index) if dash else None


def _base32(number: int, width: int) -> str:
    letters = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))
