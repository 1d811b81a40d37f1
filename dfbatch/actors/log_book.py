"""The last lines that jobs said, in the memory of the manager: bounded by lines, bytes and jobs."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dfbatch.actors.messages import LogLine

MOST_LINES = 200
MOST_BYTES = 64 << 10
"""Kept of one job, the newest."""
MOST_JOBS = 2_000
MOST_BYTES_OF_ALL = 16 << 20
"""Kept of all jobs that are not known to have failed; as much again of those that have."""


@dataclass(slots=True)
class _Said:
    generation: int
    lines: deque[str] = field(default_factory=deque)
    n_bytes: int = 0

    def add(self, text: str) -> None:
        self.lines.append(text)
        self.n_bytes += len(text)
        while len(self.lines) > MOST_LINES or self.n_bytes > MOST_BYTES:
            self.n_bytes -= len(self.lines.popleft())


class _Shelf:
    """Jobs by the time they were last heard of."""

    def __init__(self) -> None:
        self.jobs: OrderedDict[tuple[str, int], _Said] = OrderedDict()
        self.n_bytes = 0

    def put(self, key: tuple[str, int], said: _Said) -> None:
        self.jobs[key] = said
        self.n_bytes += said.n_bytes

    def take(self, key: tuple[str, int]) -> _Said | None:
        said = self.jobs.pop(key, None)
        self.n_bytes -= 0 if said is None else said.n_bytes
        return said

    def overflow(self) -> tuple[tuple[str, int], _Said] | None:
        """The job that has been silent longest, if there are too many."""
        if len(self.jobs) <= MOST_JOBS and self.n_bytes <= MOST_BYTES_OF_ALL:
            return None
        key = next(iter(self.jobs))
        said = self.take(key)
        assert said is not None
        return key, said


class LogBook:
    """Lines by job. Those of jobs that failed are kept longer: somebody will ask for them."""

    def __init__(self) -> None:
        self._recent, self._failed = _Shelf(), _Shelf()

    def __len__(self) -> int:
        return len(self._recent.jobs) + len(self._failed.jobs)

    @property
    def n_bytes(self) -> int:
        """Characters kept of all jobs."""
        return self._recent.n_bytes + self._failed.n_bytes

    def add(
        self,
        lines: Iterable[LogLine],
        generation_of: Callable[[str, int], int | None],
        has_failed: Callable[[str, int], bool],
    ) -> None:
        """Take lines in. ``generation_of`` gives the present generation of a job, None for one not known."""
        for line in lines:
            generation = generation_of(line.batch_id, line.job_index)
            if generation is None:
                continue
            key = (line.batch_id, line.job_index)
            said = self._recent.take(key) or self._failed.take(key)
            if said is None or said.generation != generation:
                said = _Said(generation)
            said.add(line.text)
            self._recent.put(key, said)
        while (found := self._recent.overflow()) is not None:
            if has_failed(*found[0]):
                self._failed.put(*found)
        while self._failed.overflow() is not None:
            pass  # nobody has asked for it in time

    def of(self, batch_id: str, index: int, generation: int) -> list[str]:
        """The last lines of the present generation of a job, the oldest first."""
        key = (batch_id, index)
        said = self._recent.jobs.get(key) or self._failed.jobs.get(key)
        return list(said.lines) if said is not None and said.generation == generation else []

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Batches that left the manager's memory."""
        for shelf in (self._recent, self._failed):
            for key in [key for key in shelf.jobs if is_gone(key[0])]:
                shelf.take(key)


def tail_of(lines: list[str], tail: int | None) -> str:
    """The last ``tail`` lines as one text; all for None."""
    return "\n".join(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :])
