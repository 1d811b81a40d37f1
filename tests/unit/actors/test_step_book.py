"""Steps of jobs: named, with times, bounded, and never lost between two threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors import context as context_module
from dfbatch.actors import step_book
from dfbatch.actors import worker as worker_module
from dfbatch.actors.context import JobContext
from dfbatch.actors.messages import StepReport
from dfbatch.actors.step_book import StepBook
from dfbatch.core.states import JobState
from dfbatch.testing import InProcess, ManualClock

RUNNING, SUCCEEDED, FAILED = JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED


def first_generation(batch_id: str, index: int) -> int:
    return 0


def news(step: str | None, done: float, at: float, *, total: float = 10, job: int = 0, attempt: int = 1) -> StepReport:
    return StepReport("k3f2m9qx", job, attempt, step, done, total, at, at)


def words(book: StepBook, state: JobState, generation: int = 0) -> list[tuple[Any, str]]:
    return [(s["step"], s["status"]) for s in book.of("k3f2m9qx", 0, generation, state)]


def test_each_step_has_a_word_and_its_times() -> None:
    book = StepBook()
    book.add([news("read", 10, 1.0), news("scan", 0, 2.0)], first_generation)
    assert words(book, RUNNING) == [("read", "completed"), ("scan", "started")]
    book.add([news("scan", 4, 5.0)], first_generation)
    assert words(book, RUNNING) == [("read", "completed"), ("scan", "in_progress")]
    scan = book.of("k3f2m9qx", 0, 0, RUNNING)[1]
    assert (scan["started_at"], scan["updated_at"], scan["finished_at"], scan["done"]) == (2.0, 5.0, None, 4)
    assert words(book, SUCCEEDED) == [("read", "completed"), ("scan", "completed")]
    assert words(book, FAILED) == [("read", "completed"), ("scan", "failed")]
    assert book.of("k3f2m9qx", 0, 0, FAILED)[1]["finished_at"] == 5.0


def test_another_try_begins_anew_and_late_news_of_the_old_one_is_dropped() -> None:
    book = StepBook()
    book.add([news("read", 5, 1.0)], first_generation)
    book.add([news("read", 1, 3.0, attempt=2), news("read", 9, 2.0, attempt=1)], first_generation)
    (step,) = book.of("k3f2m9qx", 0, 0, RUNNING)
    assert (step["done"], step["attempt"]) == (1, 2)


def test_a_redriven_job_shows_none_of_its_old_steps() -> None:
    book = StepBook()
    book.add([news("read", 5, 1.0)], first_generation)
    assert words(book, RUNNING, generation=1) == []


def test_jobs_nobody_knows_leave_no_trace() -> None:
    book = StepBook()
    book.add([news("read", 5, 1.0)], lambda batch_id, index: None)
    assert len(book) == 0


def test_memory_is_bounded_by_jobs_and_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_book, "MOST_JOBS", 100)
    book = StepBook()
    book.add([news("a", 1, k, job=k) for k in range(300)], first_generation)
    assert len(book) == 100
    assert book.of("k3f2m9qx", 199, 0, RUNNING) == []
    assert book.of("k3f2m9qx", 200, 0, RUNNING) != []
    book.add([news(f"step {k}", 1, k, job=250) for k in range(1000)], first_generation)
    assert len(book.of("k3f2m9qx", 250, 0, RUNNING)) == step_book.MOST_STEPS


def test_steps_of_ended_jobs_are_forgotten_after_some_minutes_and_those_of_others_are_not() -> None:
    book = StepBook()
    book.add([news("a", 1, 0.0, job=0), news("a", 1, 0.0, job=1), news("a", 1, 500.0, job=2)], first_generation)
    book.expire(599.0, lambda batch_id, index: True)
    assert len(book) == 3
    book.expire(601.0, lambda batch_id, index: index != 1)
    assert [bool(book.of("k3f2m9qx", k, 0, RUNNING)) for k in range(3)] == [False, True, True]


def test_the_newest_report_of_each_step_is_kept_however_many_come() -> None:
    context = JobContext(batch_id="k3f2m9qx")
    for k in range(10_000):
        context.progress(k, 10_000, "scan")
    context.progress(1, 2, "write")
    scan, write = context.take_steps()
    assert (scan.step, scan.done, write.step) == ("scan", 9_999, "write")
    assert scan.started_at <= scan.updated_at
    assert context.take_steps() == ()


class Stopwatch:
    """In place of ``time``: it goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic


def test_at_most_ten_new_steps_a_second_are_taken_from_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Stopwatch()
    monkeypatch.setattr(context_module, "time", watch)
    context = JobContext(batch_id="k3f2m9qx")
    for n_taken, passed_s in ((10, 0.5), (5, 100.0), (10, 0.0)):
        for k in range(1_000):
            context.progress(1, 2, f"step {k}")
        assert len(context.take_steps()) == n_taken
        watch.now += passed_s
    context.job_index = 1
    context.progress(1, 2, "of the next item")
    assert [s.step for s in context.take_steps()] == ["of the next item"]


def test_reports_wait_in_bounded_memory() -> None:
    context = JobContext(batch_id="k3f2m9qx")
    for k in range(2_000):
        context.job_index = k
        context.progress(1, 2)
    assert [s.job_index for s in context.take_steps()] == list(range(2_000 - context_module.MOST_UNSENT, 2_000))


def test_no_report_is_lost_between_the_thread_that_runs_and_the_one_that_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last report of every item arrives, while another thread takes all the time."""
    monkeypatch.setattr(context_module, "MOST_UNSENT", 10_000)
    context = JobContext(batch_id="k3f2m9qx")
    seen: dict[int, float] = {}
    over = threading.Event()

    def tell() -> None:
        while not over.is_set():
            seen.update({s.job_index: s.done for s in context.take_steps()})

    teller = threading.Thread(target=tell)
    teller.start()
    for k in range(3_000):
        context.job_index = k
        context.progress(1, 2)
        context.progress(2, 2)
    over.set()
    teller.join()
    seen.update({s.job_index: s.done for s in context.take_steps()})
    assert seen == dict.fromkeys(range(3_000), 2)


def in_steps(item: str, ctx: Any) -> str:
    ctx.progress(2, 2, "read")
    ctx.progress(1, 4, "scan")
    if item == "bad":
        raise ValueError("not so")
    ctx.progress(3, 4, "scan")
    return item.upper()


def test_end_to_end_the_steps_of_a_job_are_there_with_its_outcome(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 600.0)  # one on its way would bring some of them by itself, later
    clock = ManualClock()  # by which the rate of the worker is told
    with InProcess(ledger_path, workers=1, clock=clock) as client:
        good = client.submit(in_steps, "good")
        assert good.result(timeout=60) == "GOOD"
        found = good.progress()
        assert (found.status, found.percent, found.step) == ("completed", 100.0, "scan")
        assert [(s["step"], s["status"], s["done"]) for s in found.steps] == [
            ("read", "completed", 2.0),
            ("scan", "completed", 3.0),
        ]
        clock.advance(1.0)
        bad = client.submit(in_steps, "bad")
        assert bad.exception(timeout=60) is not None
        found = bad.progress()
        assert (found.status, found.percent) == ("failed", 25.0)
        assert [s["status"] for s in found.steps] == ["completed", "failed"]
        (worker,) = client.workers()
        assert worker["jobs_done"] == 2
        assert worker["rate_per_s"] > 0
