"""The words and numbers of a snapshot, the same on every display."""

from __future__ import annotations

from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

SYMBOLS: dict[BatchState, str] = {
    BatchState.SUBMITTING: "…",
    BatchState.QUEUED: "…",
    BatchState.RUNNING: "▶",
    BatchState.PAUSED: "‖",
    BatchState.STALLED: "!",
    BatchState.CANCELLING: "■",
    BatchState.SUCCEEDED: "✓",
    BatchState.PARTIAL: "!",
    BatchState.FAILED: "✗",
    BatchState.CANCELLED: "■",
    BatchState.EXPIRED: "✗",
}
"""One sign per batch state, always shown beside the word."""

WAITING_STATES = ("queued", "scheduled", "paused")
"""Job states that hold nobody's attention: they are the empty part of a bar."""


def state_words(snapshot: ProgressSnapshot) -> str:
    """The batch state as an analyst would say it: ``partial`` is ``ended, 3 failed``."""
    match snapshot.status:
        case BatchState.PARTIAL if snapshot.failed:
            return f"ended, {snapshot.failed:,} failed"
        case BatchState.PARTIAL:
            return f"ended, {snapshot.counts.get('cancelled', 0):,} cancelled"
        case BatchState.FAILED:
            return "stopped early"
        case BatchState.QUEUED if not snapshot.workers:
            return "queued, waiting for a worker"
        case BatchState.RUNNING if snapshot.failed:
            return f"running, {snapshot.failed:,} failed"
        case state:
            return state.value


def worked(snapshot: ProgressSnapshot) -> int:
    """Jobs that were worked on to an end. A cancelled or expired job has an outcome, but fills no bar."""
    return snapshot.counts.get("succeeded", 0) + snapshot.counts.get("failed", 0)


def whole_percent(snapshot: ProgressSnapshot) -> int:
    """0..100, rounded down, so that 100 is shown only when every job was worked on; 0 while the total is unknown."""
    if snapshot.total is None:
        return 0
    return 100 * worked(snapshot) // snapshot.total if snapshot.total else 100


def done_words(snapshot: ProgressSnapshot) -> str:
    """``1,204 of 5,000 (24 %)``, or ``1,204 so far`` while a stream is open."""
    if snapshot.total is None:
        return f"{worked(snapshot):,} so far"
    return f"{worked(snapshot):,} of {snapshot.total:,} ({whole_percent(snapshot)} %)"


def duration_words(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3:05 min``, ``2:14 h``, ``3 d 4 h``."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 86_400:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def rate_words(rate_per_s: float) -> str:
    """``1,310 items/s``; below one a second ``4.2 items/min``."""
    if rate_per_s >= 100:
        return f"{rate_per_s:,.0f} items/s"
    if rate_per_s >= 1:
        return f"{rate_per_s:.1f} items/s"
    return f"{rate_per_s * 60:.1f} items/min"


def overall_rate(snapshot: ProgressSnapshot) -> float:
    """Items a second: the present rate while running, the mean once the batch has ended."""
    if snapshot.status.is_terminal and snapshot.elapsed_s > 0:
        return worked(snapshot) / snapshot.elapsed_s
    return snapshot.rate_per_s


def pace_words(snapshot: ProgressSnapshot) -> list[str]:
    """Rate and time left while running; rate and time taken at the end. Unknown parts are left out."""
    words = []
    rate = overall_rate(snapshot)
    if rate > 0:
        words.append(rate_words(rate))
    if snapshot.status.is_terminal:
        words.append(f"took {duration_words(snapshot.elapsed_s)}")
    elif snapshot.eta_s is not None:
        words.append(f"{duration_words(snapshot.eta_s)} left")
    return words


def title(snapshot: ProgressSnapshot, longest: int = 60) -> str:
    """``k3f2m9qx`` or ``k3f2m9qx (claims of May)``; a name is cut at ``longest`` characters."""
    return f"{snapshot.batch_id} ({shorten(snapshot.name, longest)})" if snapshot.name else snapshot.batch_id


def one_line(snapshot: ProgressSnapshot) -> str:
    """The whole snapshot in one line of plain text."""
    parts = [f"{SYMBOLS[snapshot.status]} {state_words(snapshot)}", done_words(snapshot)]
    if snapshot.failed and snapshot.status not in (BatchState.PARTIAL, BatchState.RUNNING):
        parts.append(f"{snapshot.failed:,} failed")
    if snapshot.counts.get("retrying"):
        parts.append(f"{snapshot.counts['retrying']:,} retrying")
    parts += pace_words(snapshot)
    line = f"{title(snapshot)}: " + ", ".join(parts)
    return f"{line}. {shorten(snapshot.reason, 200)}" if snapshot.reason else line


def attach_line(batch_id: str) -> str:
    """What to type to have the batch again, in any session with a client on the same ledger."""
    return f'client.attach("{batch_id}")'


def detached_words(batch_id: str) -> str:
    """What a user reads who interrupted a wait."""
    line = attach_line(batch_id)
    return (
        f"Stopped waiting for batch {batch_id}; the work was not stopped.\n"
        f"  {line}.wait()    waits again, here or in another session\n"
        f"  {line}.cancel()  stops the work"
    )


def without_folder(message: str | None, uri: str | None) -> str:
    """The message of an error with the item called by its bare name, for where its path stands beside it."""
    text = (message or "").removeprefix(f"{uri}: ")
    return text.replace(uri, uri.rstrip("/").rpartition("/")[2]) if uri and "/" in uri else text


def shorten(text: str | None, limit: int) -> str:
    """At most ``limit`` characters on one line, control characters replaced."""
    clean = "".join(c if c.isprintable() else " " for c in text or "").strip()
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
