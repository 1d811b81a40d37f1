"""Arithmetic on the times of frames. Pure: numbers in, facts out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LISTED = 10
# A recording is "constant but for gaps" if so large a share of its steps is the usual one.
MOSTLY = 0.9
WHOLE_NUMBER_WITHIN = 0.1


def timing_facts(times: NDArray[np.int64], unit_s: float) -> dict[str, Any]:
    """Steps between frames shown one after the other.

    ``times`` (n,) are presentation times in units of ``unit_s`` seconds, in any
    order. ``frame_rate`` is ``constant``, ``constant_with_gaps`` or ``variable``.
    ``dropped_frames`` is a count only where the rate is constant but for gaps of
    whole multiples of a step; None where the rate varies: there a long step is
    how the camera works, not a missing frame.
    """
    shown = np.sort(times)
    steps = np.diff(shown)
    moving = steps[steps > 0]
    if moving.size < 2:
        return {"n_frames": int(times.size), "frame_rate": None, "duplicated_pts": int((steps == 0).sum())}
    usual = float(np.median(moving))
    regular = np.abs(moving - usual) <= _tolerance(usual)
    jumps = moving[~regular] / usual
    whole = (np.abs(jumps - np.round(jumps)) <= WHOLE_NUMBER_WITHIN) & (jumps > 1.5)
    steady = bool(regular.mean() >= MOSTLY and whole.all())
    kind = "constant" if regular.all() else "constant_with_gaps" if steady else "variable"
    gaps = np.flatnonzero(steps > 1.5 * usual)
    longest = gaps[np.argsort(steps[gaps])[::-1][:MAX_LISTED]]
    return {
        "n_frames": int(times.size),
        "frame_rate": kind,
        "fps": round(1.0 / (usual * unit_s), 3),
        "fps_mean": round(float((shown.size - 1) / ((shown[-1] - shown[0]) * unit_s)), 3),
        "distinct_steps": int(np.unique(moving).size),
        "irregular_steps": int((~regular).sum()),
        "shortest_step_s": round(float(moving.min()) * unit_s, 6),
        "longest_step_s": round(float(moving.max()) * unit_s, 6),
        "duplicated_pts": int((steps == 0).sum()),
        "n_gaps": int(gaps.size),
        "gaps": [
            {"at_s": round(float(shown[at] - shown[0]) * unit_s, 4), "length_s": round(float(steps[at]) * unit_s, 4)}
            for at in sorted(longest)
        ],
        "dropped_frames": int((np.round(jumps) - 1).sum()) if steady else None,
    }


def _tolerance(usual: float) -> float:
    """Times are whole units, so steps of a constant rate differ by one; where a unit is nearly a frame, by none."""
    return max(1.0 if usual >= 8 else 0.0, 0.005 * usual)


def keyframe_facts(times: NDArray[np.int64], keys: NDArray[np.bool_], unit_s: float) -> dict[str, Any]:
    """Spacing of key frames in seconds. A cut without re-encoding leaves odd ones; so do scene cuts."""
    at = np.sort(times[keys])
    spans = np.diff(at) * unit_s
    facts: dict[str, Any] = {"n_keyframes": int(at.size), "all_keyframes": bool(keys.all() and keys.size > 1)}
    if spans.size:
        facts["keyframe_spacing_s"] = {
            "shortest": round(float(spans.min()), 4),
            "usual": round(float(np.median(spans)), 4),
            "longest": round(float(spans.max()), 4),
        }
        inner = spans[:-1] if spans.size > 2 else spans
        facts["keyframes_regular"] = bool(np.ptp(inner) <= 0.02 * float(np.median(inner)) + 2 * unit_s)
    return facts
