"""What a dead process of this worker left behind, read by the one that takes its place."""

from __future__ import annotations

from dfbatch.actors.memory_limit import MemoryNote, oom_kills
from dfbatch.actors.time_limit import TIMEOUT_HEAD, user_frames
from dfbatch.core.death import Death

_FATAL = "Fatal Python error: "
_MIB = 1 << 20


def last_death(stack: str, note: MemoryNote) -> Death | None:
    """How it ended, or None if nothing tells. ``stack``: what ``faulthandler`` wrote."""
    crash = stack.partition(_FATAL)[2] if TIMEOUT_HEAD not in stack else ""
    why = crash.partition("\n")[0].strip()
    where = user_frames(crash, "Where it was when it crashed") if crash else ""
    if note.ended:
        used = f"needed {note.resident // _MIB} MiB of the {note.cap // _MIB} MiB of memory it may have, and was ended"
        return Death(True, words=used)
    if note.was_at_its_cap and why in ("", "Aborted"):
        used = f"died with {note.resident // _MIB} of the {note.cap // _MIB} MiB of memory it may have in use"
        return Death(True, words=used, stack=where)
    if why:
        return Death(words=f"crashed ({why})", stack=where)
    if not stack and note.oom_kills and oom_kills() > note.oom_kills:
        return Death(True, True, "was killed by the kernel, which had run out of memory,")
    return None
