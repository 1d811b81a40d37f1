"""Arithmetic on samples of sound. Pure: arrays in, facts out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Samples = NDArray[np.float32]

WINDOW = 4096
MAX_WINDOWS = 2000
QUIET_DB = -70.0
# A fall this steep within a fortieth of the band is made by a filter, not by a voice or a room.
CLIFF_DB = 18.0
EDGE_DB = 8.0
LOWEST_HZ = 3000.0
USUAL_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
MAX_LISTED = 10


def spectrum_db(samples: Samples) -> NDArray[np.float64] | None:
    """Mean power per frequency, in dB, of the windows that are not quiet; (WINDOW // 2 + 1,), or None.

    ``samples`` (channels, n), -1..1.
    """
    count = samples.shape[1] // WINDOW
    if count < 4:
        return None
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_WINDOWS)).astype(int))
    taper = np.hanning(WINDOW).astype(np.float32)
    total, used = np.zeros(WINDOW // 2 + 1), 0
    for first in range(0, chosen.size, 64):
        for channel in samples:
            blocks = np.stack([channel[at * WINDOW : (at + 1) * WINDOW] for at in chosen[first : first + 64]])
            loud = 10 * np.log10(np.mean(blocks.astype(np.float64) ** 2, axis=1) + 1e-20) > QUIET_DB
            if loud.any():
                total += (np.abs(np.fft.rfft(blocks[loud] * taper, axis=1)) ** 2).sum(axis=0)
                used += int(loud.sum())
    if used < 4:
        return None
    power = np.convolve(total / used, np.ones(9) / 9, mode="same")
    return np.asarray(10 * np.log10(power + 1e-20))


def cutoff_facts(samples: Samples, rate: int) -> dict[str, Any]:
    """Where the spectrum falls off a cliff, if it does.

    ``cutoff_hz`` is None if sound reaches up to half the sample rate or fades
    out as voices do. ``could_have_been`` lists lower sample rates whose limit
    lies there: sound of that rate, made to look like more, ends so.
    """
    level = spectrum_db(samples)
    if level is None:
        return {"cutoff_hz": None, "cutoff_note": "too short or too quiet"}
    gap, wide = WINDOW // 2 // 40, WINDOW // 2 // 20
    at = np.arange(max(wide, int(LOWEST_HZ * WINDOW / rate)), level.size - gap - wide)
    if at.size == 0:
        return {"cutoff_hz": None, "cutoff_note": "the sample rate is too low to tell"}
    # A low quantile, so that the lines of a tone do not pass for a full band.
    below = np.quantile(sliding_window_view(level, wide), 0.2, axis=1)[at - wide]
    # The highest level anywhere above, so that a dip between two tones is no cliff.
    highest = np.maximum.accumulate(level[::-1])[::-1]
    drop = below - highest[at + gap]
    best = int(np.argmax(drop))
    facts: dict[str, Any] = {"cutoff_hz": None, "cliff_db": round(float(drop[best]), 1)}
    if drop[best] < CLIFF_DB:
        return facts
    hertz = _edge(level, int(at[best]), gap, wide) * rate / WINDOW
    earlier = [old for old in USUAL_RATES if old < 0.98 * rate and 0.85 * old / 2 <= hertz <= 1.04 * old / 2]
    return facts | {
        "cutoff_hz": round(hertz),
        "cutoff_share": round(hertz / (rate / 2), 3),
        "could_have_been": earlier,
    }


def _edge(level: NDArray[np.float64], cliff: int, gap: int, wide: int) -> int:
    """The last bin before the cliff's foot that is within EDGE_DB of the level in front of it."""
    front = float(np.median(level[max(1, cliff - 3 * wide) : max(2, cliff - wide)]))
    high = np.flatnonzero(level[: cliff + gap] >= front - EDGE_DB)
    return int(high[-1]) if high.size else cliff


def runs(mask: NDArray[np.bool_], shortest: int) -> NDArray[np.int64]:
    """Stretches of True of at least ``shortest`` samples, as rows (start, length)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.view(np.int8), [0]])))
    found = np.column_stack([edges[::2], edges[1::2] - edges[::2]]).astype(np.int64)
    return found[found[:, 1] >= shortest]


def clipping_facts(samples: Samples) -> dict[str, Any]:
    """Flat tops: three or more samples in a row at full scale."""
    clipped, places = 0, 0
    for channel in samples:
        tops = runs(np.abs(channel) >= 0.9998, 3)
        clipped, places = clipped + int(tops[:, 1].sum()), places + len(tops)
    return {"clipped_samples": clipped, "clipped_places": places, "peak": round(float(np.abs(samples).max()), 5)}


def silence_facts(samples: Samples, rate: int, shortest_s: float = 0.05) -> dict[str, Any]:
    """Digital silence: every channel exactly zero. Microphones never give it; encoders, gates and editors do."""
    silent = runs(np.all(samples == 0, axis=0), max(1, int(shortest_s * rate)))
    longest = silent[np.argsort(silent[:, 1])[::-1][:MAX_LISTED]]
    return {
        "silent_runs": len(silent),
        "silent_s": round(float(silent[:, 1].sum()) / rate, 3),
        "silences": [
            {"at_s": round(float(start) / rate, 3), "length_s": round(float(length) / rate, 3)}
            for start, length in sorted(longest.tolist())
        ],
    }
