"""A chunk run item by item."""

import threading
import time
from collections import Counter, UserDict

import numpy as np
import pytest

from dfbatch.actors import item_run
from dfbatch.actors.item_run import ItemRun
from dfbatch.actors.time_limit import TimeLimit
from dfbatch.authenticity.findings import Provenance, Report, Verdict
from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import BreakerOpen, TransientError

NONE, TRANSIENT, PERMANENT = ErrorClass.NONE, ErrorClass.TRANSIENT, ErrorClass.PERMANENT


def outputs(outcomes):
    return [row and row["value"] for row in outcomes.output.column("output").to_pylist()]


def test_each_item_gives_one_outcome_in_the_order_of_the_chunk(runner, make_chunk):
    (outcomes,) = runner.run(lambda x: x * 10, make_chunk([1, 2, 3], first=40))
    assert outcomes.indices.tolist() == [40, 41, 42]
    assert outcomes.error_class.tolist() == [NONE] * 3
    assert outputs(outcomes) == [10, 20, 30]
    assert outcomes.failures is None
    assert (outcomes.lease_id, outcomes.batch_id, outcomes.seq) == (7, "k3f2m9qx", 0)


def test_items_come_as_they_were_given(runner, make_chunk):
    given = [1, "a", None, {"k": [1, 2]}, b"x"]
    seen = []
    list(runner.run(seen.append, make_chunk(given)))
    assert seen == given


def test_times_are_wall_clock_starts_and_durations(runner, make_chunk):
    begin = time.perf_counter()
    (outcomes,) = runner.run(lambda x: x, make_chunk([1, 2]))
    took_s = time.perf_counter() - begin
    assert (np.diff(outcomes.started_at) >= 0).all()
    assert (outcomes.duration_s >= 0).all()
    assert 0 < outcomes.busy_s <= took_s


def test_a_failing_item_costs_only_itself(runner, make_chunk):
    def picky(x):
        if x == 2:
            raise ValueError("two")
        return x

    (outcomes,) = runner.run(picky, make_chunk([1, 2, 3]))
    assert outcomes.error_class.tolist() == [NONE, PERMANENT, NONE]
    assert outputs(outcomes) == [1, None, 3]
    (failure,) = outcomes.failures.to_pylist()
    assert (failure["position"], failure["error_type"], failure["error_message"]) == (1, "ValueError", "two")
    assert "picky" in failure["traceback"]
    assert outcomes.fingerprint.tolist()[0] == 0 != outcomes.fingerprint.tolist()[1]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_not_even_an_exit_ends_the_worker(runner, make_chunk, error):
    def leave(x):
        raise error

    (outcomes,) = runner.run(leave, make_chunk([1]))
    assert outcomes.error_class.tolist() == [PERMANENT]


def test_the_retry_policy_of_the_batch_decides_what_is_transient(runner, make_chunk):
    def fail(x):
        raise {1: KeyError("k"), 2: TransientError("t"), 3: BreakerOpen("scorer")}[x]

    options = {"retry": {"retry_on": ["KeyError"], "give_up_on": ["dfbatch.errors.TransientError"]}}
    (outcomes,) = runner.run(fail, make_chunk([1, 2, 3], options=options))
    assert outcomes.error_class.tolist() == [TRANSIENT, PERMANENT, ErrorClass.BREAKER_OPEN]


def test_an_answer_that_fits_no_table_fails_its_item(runner, make_chunk):
    (outcomes,) = runner.run(lambda x: object() if x == 2 else x, make_chunk([1, 2, 3]))
    assert outcomes.error_class.tolist() == [NONE, PERMANENT, NONE]
    assert outcomes.failures.column("error_type").to_pylist() == ["OutputInvalid"]
    assert outputs(outcomes) == [1, None, 3]


def test_slow_items_are_reported_before_the_chunk_ends(runner, make_chunk, monkeypatch):
    """With every item over the limit, each one is a report of its own."""
    monkeypatch.setattr(item_run, "FLUSH_S", 0.0)
    reports = list(runner.run(lambda x: x, make_chunk([1, 2, 3])))
    assert [r.indices.tolist() for r in reports] == [[0], [1], [2]]
    assert [outputs(r) for r in reports] == [[1], [2], [3]]


def test_a_lease_called_back_ends_between_two_items(runner, make_chunk):
    runner.recall_after = 2
    seen = []
    (outcomes,) = runner.run(seen.append, make_chunk([1, 2, 3, 4]))
    assert seen == [1, 2]
    assert outcomes.indices.tolist() == [0, 1]


def test_a_lease_called_back_before_its_first_item_reports_nothing(runner, make_chunk):
    runner.recall_after = 0
    assert list(runner.run(lambda x: x, make_chunk([1]))) == []


def test_the_mark_stands_at_the_item_under_work_and_is_cleared_at_the_end(runner, make_chunk):
    seen = []
    list(runner.run(lambda x: seen.append(runner.mark.last()), make_chunk(["a", "b"], first=40, lease_id=9)))
    assert seen == [(9, 40), (9, 41)]
    assert runner.mark.last() is None


def test_a_verifier_that_asks_for_it_is_told_about_its_job(runner, make_chunk):
    seen = []

    def tell(item, ctx):
        seen.append((ctx.job_id, ctx.attempt))
        ctx.progress(1, 2, "half")

    list(runner.run(tell, make_chunk(["a", "b"], first=3, attempts=2)))
    assert seen == [("k3f2m9qx-3", 3), ("k3f2m9qx-4", 3)]
    (report,) = (r for r in runner.context.take_steps() if r.job_index == 4)
    assert (report.batch_id, report.step, report.done, report.total) == ("k3f2m9qx", "half", 1.0, 2.0)
    assert runner.context.take_steps() == ()


def test_reports_of_the_authenticator_go_into_the_results_themselves(runner, make_chunk):
    def judge(item):
        if item == "odd":
            return {"mine": 1}
        return Report(
            uri=item,
            media_type="image/png",
            size=3,
            sha256="0" * 64,
            verdict=Verdict.INCONCLUSIVE,
            p_manipulated=None,
            coverage=0.0,
            reasons=("Nothing applies.",),
            findings=(),
            provenance=Provenance(),
        )

    (outcomes,) = runner.run(judge, make_chunk(["a", "odd", "b"]))
    assert outcomes.report.column("verdict").to_pylist() == ["inconclusive", None, "inconclusive"]
    assert outcomes.report.column("uri").to_pylist() == ["a", None, "b"]
    assert outcomes.output.column("output").to_pylist()[1] == {"mine": 1}
    (only,) = runner.run(judge, make_chunk(["a"]))
    assert only.output is None


# ------------------------------------------------------------------- reports from another thread


@pytest.fixture
def watched(runner, make_chunk):
    """Runs a chunk; at an item "slow" another thread reports what has succeeded. Gives its reports and the run's."""

    def go(verifier, values, *, item_s=0.0, send=None, **more):
        early = []

        def call(item):
            if item == "slow":
                other = threading.Thread(target=run.report_finished, args=(send or early.append, item_s))
                other.start()
                other.join()
            return verifier(item)

        given = runner.mark, runner.context, runner.is_recalled, TimeLimit(None, None)
        run = ItemRun(make_chunk(values, first=40), runner.load(call), *given, **more)
        late = list(run.outcomes())
        run.report_finished(early.append, 0.0)  # there is nothing more to say
        return early, late

    return go


def test_quick_items_are_reported_while_a_slow_one_runs_and_failures_at_the_end(watched):
    def picky(x):
        return 1 / (x != "bad") and x

    (early,), (late,) = watched(picky, ["a", "bad", "b", "slow", "c", "bad"])
    assert early.indices.tolist() == [40, 42]
    assert early.failures is None
    assert outputs(early) == ["a", "b"]
    assert late.indices.tolist() == [41, 43, 44, 45]
    assert late.error_class.tolist() == [PERMANENT, NONE, NONE, PERMANENT]
    assert outputs(late) == [None, "slow", "c", None]
    assert late.failures.column("position").to_pylist() == [0, 3]
    assert early.busy_s == pytest.approx(early.duration_s.sum())
    assert late.busy_s == pytest.approx(late.duration_s.sum()), "the time of the others is not counted twice"


def test_each_slow_item_lets_those_since_the_last_one_be_reported(watched):
    early, (late,) = watched(lambda x: x, ["a", "slow", "b", "slow"])
    assert [r.indices.tolist() for r in early] == [[40], [41, 42]]
    assert late.indices.tolist() == [43]


def test_while_the_item_at_hand_is_quick_no_other_thread_reports(watched):
    early, (late,) = watched(lambda x: x, ["a", "slow", "b"], item_s=float("inf"))
    assert early == []
    assert late.indices.tolist() == [40, 41, 42]


def test_what_fits_no_table_is_left_to_the_thread_that_runs(watched):
    (early,), (late,) = watched(lambda x: object() if x == "odd" else x, ["a", "odd", "b", "slow"])
    assert (early.indices.tolist(), outputs(early)) == ([40, 42], ["a", "b"])
    assert late.indices.tolist() == [41, 43]
    assert late.failures.column("error_type").to_pylist() == ["OutputInvalid"]


def test_a_value_with_code_of_the_users_is_read_by_the_thread_that_runs_it(watched):
    """It might wait for the item at hand, and the thread of the heartbeats with it."""
    readers = []

    class Mine(UserDict):
        def __iter__(self):
            readers.append(threading.current_thread())
            return super().__iter__()

    (early,), (late,) = watched(lambda x: Mine(value=x) if x == "mine" else x, ["a", "mine", "b", "slow"])
    assert early.indices.tolist() == [40, 42]
    assert (late.indices.tolist(), outputs(late)) == ([41, 43], ["mine", "slow"])
    assert set(readers) == {threading.current_thread()}
    (last,), (late,) = watched(lambda x: Mine(value=x), ["a", "slow"], item_s=None)
    assert (outputs(last), outputs(late)) == (["a"], ["slow"]), "the process is about to end"


def test_what_could_not_be_reported_early_is_reported_late(watched, monkeypatch):
    def broken(outcomes):
        raise AssertionError("dfbatch is broken")

    monkeypatch.setattr(threading, "excepthook", lambda story: None)
    early, (late,) = watched(lambda x: x, ["a", "b", "slow", "c"], send=broken)
    assert early == []
    assert late.indices.tolist() == [40, 41, 42, 43]


def test_early_reports_are_dressed_as_the_others_are(watched):
    def dress(outcomes):
        outcomes.model_fingerprint = f"of {len(outcomes.indices)}"
        return outcomes

    (early,), (late,) = watched(lambda x: x, ["a", "b", "slow"], dress=dress)
    assert (early.model_fingerprint, late.model_fingerprint) == ("of 2", "of 1")


def test_however_two_threads_meet_each_item_is_reported_once(runner, make_chunk, monkeypatch):
    monkeypatch.setattr(item_run, "FLUSH_S", 0.0005)
    n, found, over = 5_000, [], threading.Event()
    given = runner.mark, runner.context, runner.is_recalled, TimeLimit(None, None)
    run = ItemRun(make_chunk(list(range(n))), runner.load(lambda x: 1 / (x % 7) and x), *given)

    def report():
        while not over.is_set():
            run.report_finished(found.append, 0.0)

    other = threading.Thread(target=report)
    other.start()
    try:
        for outcomes in run.outcomes():
            found.append(outcomes)
    finally:
        over.set()
        other.join()
    told = {}
    for outcomes in found:
        values = outputs(outcomes) if outcomes.output is not None else [None] * len(outcomes.indices)
        told.update(zip(outcomes.indices.tolist(), values, strict=True))
    assert Counter(i for r in found for i in r.indices.tolist()) == dict.fromkeys(range(n), 1)
    assert told == {x: x if x % 7 else None for x in range(n)}
