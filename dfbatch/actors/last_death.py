"""What a dead process of this worker left behind, read by the one that takes its place."""

from __future__ import annotations

from dfbatch.actors.memory_limit import MemoryNote, oom_kills
from dfbatch.actors.time_limit import TIMEOUT_HEAD, user_frames
from dfbatch.core.death import Death
from dfbatch.errors import ItemTimeout

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


def over_a_limit(timed_out: bool, death: Death | None) -> str:
    """The error of the item if its own limit of time or memory ended the process; empty if anything else did."""
    if timed_out:
        return ItemTimeout.__name__
    if death is not None and death.out_of_memory and not death.of_node:
        return death.error_type
    return ""
