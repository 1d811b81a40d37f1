"""The handle of one job: a future."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from dfbatch.actors.log_book import tail_of
from dfbatch.client.html_text import facts_line
from dfbatch.client.ledger_progress import batch_row
from dfbatch.client.session import Session
from dfbatch.client.story import Story
from dfbatch.core.ids import job_id
from dfbatch.core.states import JobState
from dfbatch.errors import (
    DfbatchError,
    InvalidInput,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    TimeoutError,
    UnknownId,
)
from dfbatch.ledger.last_words import last_words
from dfbatch.ledger.schemas import RESULTS
from dfbatch.ledger.stories import story

_POLL_S = 0.02
_ERRORS = {JobState.FAILED: JobFailed, JobState.CANCELLED: JobCancelled, JobState.EXPIRED: JobExpired}
_WITHOUT_INPUT = [*RESULTS.arrow.names, "output"]
"""What a result is made of; carried columns are read only for who asks for the whole row."""
_SEED_WORDS = {
    JobState.QUEUED: "started",
    JobState.SCHEDULED: "started",
    JobState.PAUSED: "started",
    JobState.SUCCEEDED: "completed",
}


@dataclass(frozen=True, slots=True)
class JobProgress:
    """``status``: started, in_progress, completed or failed. ``percent`` is that of the present ``step``.

    ``steps``: one dict a step of the present try, in the order they began: ``step, status`` (the same words)``, done,
    total, attempt, started_at, updated_at, finished_at`` (wall seconds). They are kept some minutes after the end.
    """

    job_id: str
    status: str
    percent: float
    step: str | None = None
    steps: tuple[dict[str, Any], ...] = field(default=())


class Job:
    """One item of a batch. ``await job`` is ``job.result()``."""

    def __init__(self, session: Session, batch_id: str, index: int, *, is_alone: bool = False) -> None:
        self._session = session
        self._batch_id = batch_id
        self._index = index
        self._is_alone = is_alone
        """Known to be the only job of its batch, which then ends with it."""

    @property
    def id(self) -> str:
        """The id of its batch and its index, such as ``k3f2m9qx-17``."""
        return job_id(self._batch_id, self._index)

    @property
    def batch_id(self) -> str:
        """The id of its batch."""
        return self._batch_id

    @property
    def status(self) -> JobState:
        """The state; a terminal one only once its outcome is durable."""
        row = self._row(["job_index", "generation", "status"])
        live = self._live()
        if live is None:
            return JobState(row["status"]) if row is not None else JobState.QUEUED
        state = JobState(live["state"])
        if not state.is_terminal:
            return state
        return state if row is not None and row["generation"] == live["generation"] else JobState.RUNNING

    def done(self) -> bool:
        """True if it has a durable outcome, of whatever kind."""
        return self.status.is_terminal

    def running(self) -> bool:
        """True if a worker has it now."""
        return self.status is JobState.RUNNING

    def cancelled(self) -> bool:
        """True if it ended because it was cancelled."""
        return self.status is JobState.CANCELLED

    def cancel(self) -> None:
        """A job that no worker has begun is cancelled; one that runs keeps its outcome."""
        self._session.call("cancel_job", self._batch_id, self._index)

    def progress(self) -> JobProgress:
        """Percent, present step, and the steps so far."""
        state, live = self.status, self._live() or {}
        steps = tuple(live.get("steps", ()))
        last: dict[str, Any] = max(steps, key=lambda step: float(step["updated_at"]), default={})
        percent = 100.0 * last["done"] / last["total"] if last.get("total") else 0.0
        percent = 100.0 if state is JobState.SUCCEEDED else min(max(percent, 0.0), 100.0)
        word = _SEED_WORDS.get(state, "failed" if state.is_terminal else "in_progress")
        return JobProgress(self.id, word, percent, last.get("step"), steps)

    def result(self, timeout: float | None = None) -> Any:
        """What the verifier returned; for ``verify`` the row as a dict. Raises JobFailed, JobCancelled, JobExpired."""
        row = self._wait_for(timeout, _WITHOUT_INPUT)
        error = _error_of(row)
        if error is not None:
            raise error
        if row["verdict"] is not None:
            return self.row(timeout)
        output = row.get("output")
        if isinstance(output, dict) and set(output) == {"value"}:
            return output["value"]
        return output

    def exception(self, timeout: float | None = None) -> JobError | None:
        """The error of the job, or None if it succeeded."""
        return _error_of(self._wait_for(timeout, _WITHOUT_INPUT))

    def row(self, timeout: float | None = None) -> dict[str, Any]:
        """The whole row of the outcome. Raises dfbatch.TimeoutError after ``timeout`` seconds."""
        return self._wait_for(timeout, None)

    def _wait_for(self, timeout: float | None, columns: list[str] | None) -> dict[str, Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 5.0 if deadline is None else min(5.0, deadline - time.monotonic())
            if self._ended(max(0.0, left)):
                row = self._row(columns)
                if row is not None:
                    return row
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"Job {self.id} is {self.status} after {timeout:g} s; it goes on.")
            time.sleep(_POLL_S)

    def log(self, tail: int | None = 50) -> str:
        """The last ``tail`` lines that the job said, in all its tries, as one text; ``tail=None`` gives all there are.

        That is what it gave ``ctx.log`` and what its verifier printed, about a second ago at most while it runs. Kept
        by the manager: 200 lines and 64 KB of a job, of the last 2,000 jobs that said anything; of those that failed,
        the last 50 lines are in the ledger too. A job that said nothing, or long ago, gives an empty text. Raises
        InvalidInput, UnknownId.
        """
        if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
            raise InvalidInput("tail", f"{tail!r} is no number of lines", "Give 50, or None for all")
        session = self._session
        session.check_open()
        text = ""
        try:
            text = "" if session.link is None else session.call("job_log", self._batch_id, self._index, tail)
        except UnknownId:
            # Of a batch that is not in the manager's memory any more, unless there is no such job.
            if 0 <= batch_row(session.reader, self._batch_id)["n_jobs"] <= self._index:
                raise
        return text or tail_of(last_words(session.reader, self._batch_id, self._index), tail)

    def story(self) -> Story:
        """Every try of the job so far, in every generation, as committed."""
        self._session.check_open()
        return Story(self.id, tuple(story(self._session.reader, self._batch_id, self._index)))

    def add_done_callback(self, callback: Callable[[Job], Any]) -> None:
        """Call ``callback(job)`` from another thread when the job has ended."""

        def follow() -> None:
            self.row()
            callback(self)

        threading.Thread(target=follow, name=f"dfbatch-callback-{self.id}", daemon=True).start()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.get_running_loop().run_in_executor(None, self.result).__await__()

    def _ended(self, wait_s: float) -> bool:
        """True if there is, or is about to be, a terminal row of the present generation."""
        snapshot = self._session.progress(self._batch_id, wait_s if self._is_alone else 0.0)
        if snapshot.status.is_terminal:
            return True
        if snapshot.total == 1 and not self._is_alone:
            self._is_alone = True
            return self._session.progress(self._batch_id, wait_s).status.is_terminal
        return False if self._is_alone else self.status.is_terminal

    def _live(self) -> dict[str, Any] | None:
        """The job as the manager has it; None if the batch is not in its memory, or there is no manager."""
        if self._session.link is None:
            return None
        try:
            live: dict[str, Any] = self._session.call("job", self._batch_id, self._index)
        except UnknownId:
            return None
        return live

    def _row(self, columns: list[str] | None) -> dict[str, Any] | None:
        span = (self._index, self._index + 1)
        found = self._session.reader.results(self._batch_id, columns=columns, index_range=span).to_pylist()
        return found[0] if found else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self._state()}>"

    def _repr_html_(self) -> str:
        return facts_line("Job", {"id": self.id, "state": self._state()})

    def _state(self) -> str:
        """The state, or why it cannot be told: a repr never raises."""
        try:
            return str(self.status)
        except DfbatchError as error:
            return f"({error})"


def _error_of(row: dict[str, Any]) -> JobError | None:
    kind = _ERRORS.get(JobState(row["status"]))
    if kind is None:
        return None
    return kind(
        row["job_id"],
        row["error_type"] or "",
        row["error_message"] or "",
        row["traceback"] or "",
        row["attempts"] or 0,
    )
