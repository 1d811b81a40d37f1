"""How a JPEG was compressed: tables, quality, subsampling, scans. Facts, no score.

In one public benchmark these alone tell real from fake, because its makers saved the
two with different encoders; so they are told, and weigh nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.jpeg import JpegStructure, jpeg_structure
from dfbatch.authenticity.media.media import Media

_DQT = 0xDB
Table = npt.NDArray[np.int64]

# ITU-T T.81, tables K.1 and K.2, row by row.
_LUMINANCE = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
     51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
     120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip
_CHROMINANCE = np.array(
    [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99,
     99, 99, 99, 99, *[99] * 32]
)  # fmt: skip


def _zigzag() -> npt.NDArray[np.int64]:
    """Row-by-row index of each coefficient in the order of the stream (figure A.6)."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))
    return np.array([8 * row + column for row, column in cells])


def _scaled(base: Table) -> Table:
    """The table at qualities 1..100 in the scaling of the Independent JPEG Group: shape (100, 64)."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base[None, :] * scale[:, None] + 50) // 100, 1, 255)


_ZIGZAG = _zigzag()
_STANDARD = (_scaled(_LUMINANCE), _scaled(_CHROMINANCE))


class JpegTables:
    """Facts: ``quality`` (1..100, nearest standard one), ``standard_tables`` (bool: exactly the usual tables),
    ``tables_sha256`` (first 16 letters), ``n_tables, subsampling, components, precision_bits, progressive,
    arithmetic, scans, bytes_after_end``.
    """

    name = "jpeg_tables"
    version = "1"

    def applies_to(self, media: Media) -> str | None:
        return None if media.media_type == "image/jpeg" else "Only JPEG files have JPEG tables."

    def examine(self, media: Media) -> Finding:
        structure = jpeg_structure(media.data)
        tables = dict(_tables(media.data, structure))
        if not tables or structure.frame is None:
            return Finding(self.name, self.version, False, "The JPEG has no quantisation tables of its own.")
        facts = _frame_facts(media.data, structure)
        quality, standard = _quality(tables)
        facts |= {
            "quality": quality,
            "standard_tables": standard,
            "n_tables": len(tables),
            "tables_sha256": hashlib.sha256(b"".join(tables[key].tobytes() for key in sorted(tables))).hexdigest()[:16],
            "progressive": structure.progressive,
            "arithmetic": structure.frame >= 0xC9,
            "scans": structure.scans,
            "bytes_after_end": len(media.data) - (structure.end or len(media.data)),
        }
        kind = "the usual tables at" if standard else "tables of its own, near"
        reason = (
            f"JPEG with {kind} quality {quality}, colour {facts['subsampling'] or 'none'}, {structure.scans} scan(s)."
        )
        return Finding(self.name, self.version, True, reason, facts=facts)


def _tables(data: bytes, structure: JpegStructure) -> Iterator[tuple[int, Table]]:
    """(id, 64 steps row by row) of each table; a later one of the same id replaces the earlier."""
    for marker, at, length in structure.segments:
        end = at + length
        while marker == _DQT and at < end:
            wide, number = data[at] >> 4, data[at] & 15
            size = 128 if wide else 64
            if at + 1 + size > end:
                break
            steps = np.frombuffer(data, dtype=">u2" if wide else np.uint8, count=64, offset=at + 1)
            table = np.empty(64, dtype=np.int64)
            table[_ZIGZAG] = steps
            yield number, table
            at += 1 + size


def _quality(tables: dict[int, Table]) -> tuple[int, bool]:
    """(nearest quality, whether all tables are exactly the standard ones of that quality)."""
    luminance = tables[min(tables)]
    distance = np.abs(np.log(_STANDARD[0]) - np.log(np.maximum(luminance, 1))).mean(axis=1)
    nearest = int(distance.argmin())
    exact = all(
        any(np.array_equal(standard[nearest], table) for standard in _STANDARD) for _, table in sorted(tables.items())
    )
    return nearest + 1, exact and np.array_equal(_STANDARD[0][nearest], luminance)


def _frame_facts(data: bytes, structure: JpegStructure) -> dict[str, Any]:
    start, length = next((at, size) for marker, at, size in structure.segments if marker == structure.frame)
    count = data[start + 5] if length > 5 else 0
    samplings = [data[start + 7 + 3 * index] for index in range(count) if 7 + 3 * index < length]
    return {
        "precision_bits": data[start] if length else None,
        "components": count,
        "subsampling": _subsampling([(sampling >> 4, sampling & 15) for sampling in samplings]),
    }


_NAMES = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}


def _subsampling(factors: list[tuple[int, int]]) -> str | None:
    """The usual name of the colour subsampling; None for grey, ``horizontal x vertical`` if it has no name."""
    if len(factors) < 3 or not all(side for pair in factors for side in pair):
        return None
    (wide, high), (chroma_wide, chroma_high) = factors[0], factors[1]
    ratio = (wide // chroma_wide, high // chroma_high)
    return _NAMES.get(ratio, f"{ratio[0]}x{ratio[1]}")
