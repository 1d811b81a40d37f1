"""How a worker's process ended, as far as its next incarnation, or the pool, could tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Death:
    """``out_of_memory``: it needed more memory than it was given, or than its node had (``of_node``).

    ``words``: how it ended, as the end of "The worker process ...". ``stack``: where
    it was, for the row of the item; both may be empty.
    """

    out_of_memory: bool = False
    of_node: bool = False
    words: str = ""
    stack: str = ""

    @property
    def error_type(self) -> str:
        """Name of the error that the row of the item at fault shows."""
        return "HostOutOfMemory" if self.out_of_memory else "WorkerCrash"

    def message(self, n_alone: int) -> str:
        """For the row of a job that ran alone in ``n_alone`` processes, all of which ended."""
        ended = self.words or "died"
        if self.out_of_memory:
            remedy = "Give the verifier more memory, or make the item smaller."
        else:
            remedy = "Look at the item itself, or raise max_worker_deaths."
        times = "time" if n_alone == 1 else "times"
        return f"The worker process {ended} {n_alone} {times} while this item ran alone. {remedy}"


UNKNOWN = Death()
CONSTRUCTING = -1
"""In a mark, in place of the index of a job: the worker constructed the verifier of the lease."""

_SAYS_MEMORY = ("running low on memory", "due to memory pressure", "outofmemoryerror")
"""Ray's notice of any killed process guesses at an out-of-memory killer; only that of its own says these words."""


def death_by_notice(cause: str) -> Death:
    """What the notice of a death says: whether the node ran out of memory, or nothing."""
    text = cause.lower()
    if any(words in text for words in _SAYS_MEMORY):
        return Death(True, True, "was ended because its node ran out of memory")
    return UNKNOWN
