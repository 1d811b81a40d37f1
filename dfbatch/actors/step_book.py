"""The named steps that jobs report, with their times; bounded, and forgotten some minutes after the job."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dfbatch.actors.messages import StepReport
from dfbatch.core.states import JobState

MOST_JOBS = 10_000
"""Jobs whose steps are kept; the one that has been silent longest goes first."""
MOST_STEPS = 50
"""Steps kept of one job, the newest."""
KEPT_S = 600.0
"""Steps of a job that has ended are kept so long."""
_AT_WORK = (JobState.RUNNING, JobState.CANCELLING)


@dataclass(slots=True)
class _Tracker:
    """Steps of one try of one job, by name, in the order they began."""

    generation: int
    attempt: int
    steps: dict[str | None, StepReport] = field(default_factory=dict)
    updated_at: float = 0.0


class StepBook:
    """Steps by job. Times are wall seconds of the workers."""

    def __init__(self) -> None:
        self._trackers: OrderedDict[tuple[str, int], _Tracker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._trackers)

    def add(self, reports: Iterable[StepReport], generation_of: Callable[[str, int], int | None]) -> None:
        """Take reports in. ``generation_of`` gives the present generation of a job, None for one not known."""
        for report in reports:
            generation = generation_of(report.batch_id, report.job_index)
            if generation is not None:
                self._add(report, generation)
        while len(self._trackers) > MOST_JOBS:
            self._trackers.popitem(last=False)

    def _add(self, report: StepReport, generation: int) -> None:
        key = (report.batch_id, report.job_index)
        tracker = self._trackers.get(key)
        if tracker is None or (generation, report.attempt) > (tracker.generation, tracker.attempt):
            tracker = self._trackers[key] = _Tracker(generation, report.attempt)
        elif (generation, report.attempt) < (tracker.generation, tracker.attempt):
            return  # late news of a try that is over
        known = tracker.steps.get(report.step)
        tracker.steps[report.step] = report if known is None else report._replace(started_at=known.started_at)
        while len(tracker.steps) > MOST_STEPS:
            del tracker.steps[next(iter(tracker.steps))]
        tracker.updated_at = max(tracker.updated_at, report.updated_at)
        self._trackers.move_to_end(key)

    def of(self, batch_id: str, index: int, generation: int, state: JobState) -> list[dict[str, Any]]:
        """Steps of the present generation of a job, in the order they began.

        Each: ``step, status`` (started, in_progress, completed, failed)``, done, total, attempt, started_at,
        updated_at, finished_at`` (None while it goes on).
        """
        tracker = self._trackers.get((batch_id, index))
        if tracker is None or tracker.generation != generation:
            return []
        steps = list(tracker.steps.values())
        present = max(steps, key=lambda s: s.updated_at)
        return [_shown(step, _status(step, step is present, state)) for step in steps]

    def expire(self, now_wall: float, has_ended: Callable[[str, int], bool]) -> None:
        """Forget jobs that have ended and whose last step is older than ``KEPT_S``; stops at the first younger one."""
        old = []
        for key, tracker in self._trackers.items():
            if now_wall - tracker.updated_at < KEPT_S:
                break
            if has_ended(*key):
                old.append(key)
        for key in old:
            del self._trackers[key]


def _status(step: StepReport, is_present: bool, state: JobState) -> str:
    if step.total is not None and step.done >= step.total:
        return "completed"
    if not is_present or state is JobState.SUCCEEDED:
        return "completed"
    if state not in _AT_WORK:
        return "failed"  # the try ended at this step, whether another one follows or not
    return "in_progress" if step.done > 0 else "started"


def _shown(step: StepReport, status: str) -> dict[str, Any]:
    return {
        "step": step.step,
        "status": status,
        "done": step.done,
        "total": step.total,
        "attempt": step.attempt,
        "started_at": step.started_at,
        "updated_at": step.updated_at,
        "finished_at": step.updated_at if status in ("completed", "failed") else None,
    }
