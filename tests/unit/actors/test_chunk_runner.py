"""A chunk is run to its end, whatever happens on the way, and each of its jobs is reported once."""

import threading

import pytest

from dfbatch.actors import item_run
from dfbatch.actors.chunk_runner import ChunkRunner
from dfbatch.actors.held_work import HeldWork
from dfbatch.actors.memory_limit import MemoryLimit
from dfbatch.actors.outbox import Outbox
from dfbatch.core.breaker_seen import OWN
from dfbatch.core.error_class import ErrorClass as E

POLICY = {"minimum_calls": 50, "window_calls": 50, "jitter": 0.0}


class Loaded:
    """A store that has the one verifier."""

    def __init__(self, verifier):
        self._verifier = verifier

    def get(self, order):
        return self._verifier

    def forgive(self, order):
        pass


@pytest.fixture
def run(runner, make_chunk):
    """Runs a chunk with a worker's runner; gives the classes of error of each job, as reported."""

    def go(verifier, values):
        chunk, work = make_chunk(values), HeldWork(threading.Event())
        work.add(chunk)
        work.next_chunk()
        loaded = Loaded(runner.load(verifier))
        go.runner = ChunkRunner(loaded, runner.mark, runner.context, work, None, MemoryLimit())
        go.runner.run(chunk)
        found, go.order = {}, []
        for report in work.outbox.take_unsent():
            assert len(report.indices), "a report of nothing"
            go.order.append(report.indices.tolist())
            for index, code in zip(report.indices.tolist(), report.error_class.tolist(), strict=True):
                found.setdefault(index, []).append(E(code))
        assert work.finish(chunk) is None, "something has no outcome"
        return found

    return go


def scorer(x, ctx):
    def service(x):
        if x == "down":
            raise OSError("down")
        return x

    return ctx.breaker("scorer", **POLICY).call(service, x)


@pytest.fixture
def fault_at(monkeypatch):
    """Every item is reported by itself, and the report of this job meets a fault of ours."""
    real = item_run.outcomes_of
    monkeypatch.setattr(item_run, "FLUSH_S", 0.0)

    def at(index):
        def broken(chunk, positions, *args, **more):
            if index in chunk.indices[positions]:
                raise AssertionError("dfbatch is broken")
            return real(chunk, positions, *args, **more)

        monkeypatch.setattr(item_run, "outcomes_of", broken)

    return at


def test_each_job_of_a_chunk_is_reported_once(run):
    assert run(scorer, ["up", "down", "up"]) == {0: [E.NONE], 1: [E.TRANSIENT], 2: [E.NONE]}


def test_a_fault_of_ours_fails_what_has_no_outcome_and_reports_nothing_twice(run, fault_at):
    """An error of a dependency waits for the end of the chunk; it is an outcome all the same."""
    fault_at(3)
    found = run(scorer, ["up", "down", "down", "up", "up"])
    assert found == {0: [E.NONE], 1: [E.TRANSIENT], 2: [E.TRANSIENT], 3: [E.PERMANENT], 4: [E.PERMANENT]}


# ------------------------------------------------------------------- reports from another thread


@pytest.fixture
def slowly(run):
    """The verifier, during whose item "slow" another thread of the worker reports what has succeeded."""

    def made(verifier):
        def call(x, ctx):
            if x == "slow":
                other = threading.Thread(target=run.runner.report_finished, args=(0.0,))
                other.start()
                other.join()
            return verifier(x, ctx)

        return call

    return made


def test_what_has_succeeded_is_reported_early_and_what_is_to_be_judged_at_the_end(run, slowly):
    assert run(slowly(scorer), ["up", "down", "up", "slow", "up"]) == {
        0: [E.NONE], 1: [E.TRANSIENT], 2: [E.NONE], 3: [E.NONE], 4: [E.NONE],
    }  # fmt: skip
    assert run.order == [[0, 2], [3, 4], [1]]


def test_the_verifiers_breaker_counts_what_was_reported_early(run, slowly, runner):
    def hungry(x, ctx):
        if x == "big":
            raise MemoryError
        return x

    calls = []
    for verifier in (hungry, slowly(hungry)):
        found = run(verifier, ["big", "up", "up", "slow", "up"])
        assert found[0] == [E.OUT_OF_MEMORY]
        calls.append(runner.context.breakers.so_far()[OWN][1] - sum(calls))
    assert calls == [5, 5]
    assert run.order == [[1, 2], [3, 4], [0]]


def test_a_fault_of_ours_repeats_nothing_that_was_reported_early(run, slowly, fault_at, monkeypatch):
    fault_at(3)
    monkeypatch.setattr(item_run, "FLUSH_S", float("inf"))
    found = run(slowly(scorer), ["up", "down", "slow", "up"])
    assert found == {0: [E.NONE], 1: [E.PERMANENT], 2: [E.PERMANENT], 3: [E.PERMANENT]}


def test_an_early_report_that_fails_costs_nothing(run, slowly, monkeypatch, caplog):
    """The one who tries it is the thread of the heartbeats."""
    real = item_run.outcomes_of
    once = iter([True])
    monkeypatch.setattr(item_run, "outcomes_of", lambda *a, **k: 1 / 0 if next(once, False) else real(*a, **k))
    assert run(slowly(scorer), ["up", "slow", "up"]) == {0: [E.NONE], 1: [E.NONE], 2: [E.NONE]}
    assert run.order == [[0, 1, 2]]
    assert "could not be reported yet" in caplog.text


def test_a_worker_whose_outbox_is_full_reports_nothing_early(run, slowly, monkeypatch):
    """The thread of the heartbeats waits for nobody."""
    full = iter([True])
    monkeypatch.setattr(Outbox, "is_full", property(lambda outbox: next(full, False)))
    run(slowly(scorer), ["up", "slow", "up"])
    assert run.order == [[0, 1, 2]]


def test_a_fault_after_the_last_item_adds_nothing(run, monkeypatch, runner):
    real = runner.mark.clear
    monkeypatch.setattr(runner.mark, "clear", lambda: real() if runner.context.job_index != 1 else 1 / 0)
    assert run(scorer, ["up", "down"]) == {0: [E.NONE], 1: [E.TRANSIENT]}
