"""Who pays when a dependency fails: told by the chunk as a whole."""

import numpy as np
import pytest

from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.chunk_judge import ChunkJudge, rows_of
from dfbatch.actors.context import JobContext
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.errors import BreakerOpen

POLICY = {"minimum_calls": 4, "window_calls": 10, "jitter": 0.0}


@pytest.fixture
def run(runner, make_chunk):
    """Runs a chunk as a worker does; gives class of error by job, in the order they were reported.

    No time passes for the breakers: what is open stays so.
    """
    breakers = WorkerBreakers(lambda: 100.0)
    runner.context = JobContext(breakers=breakers)

    def go(verifier, values, **options):
        judge = ChunkJudge(breakers, "v1")
        runner.is_recalled = lambda: breakers.halted
        reports = list(judge.sift(runner.run(verifier, make_chunk(values, **options))))
        return {
            int(index): E(code)
            for r in reports
            for index, code in zip(r.indices.tolist(), r.error_class.tolist(), strict=True)
        }

    go.breakers = breakers
    return go


def service(x):
    if x == "down":
        raise OSError("down")
    if x == "odd":
        raise KeyError("down")
    return x


def scorer(x, ctx):
    return ctx.breaker("scorer", **POLICY).call(service, x)


def test_if_it_opened_in_the_chunk_nobody_pays_and_the_rest_is_not_run(run):
    found = run(scorer, ["up", "down", "down", "down", "up", "up"])
    assert found == {0: E.NONE, 1: E.BREAKER_OPEN, 2: E.BREAKER_OPEN, 3: E.BREAKER_OPEN}
    assert run.breakers.halted


def test_if_others_passed_the_item_pays_and_is_tried_again(run):
    found = run(scorer, ["up"] * 8 + ["down", "odd", "up"])
    assert [k for k, code in found.items() if code is not E.NONE] == [8, 9]
    assert found[8] is found[9] is E.TRANSIENT, "a KeyError too may pass when a service answers it"
    assert list(found)[-2:] == [8, 9], "they wait for the end of the chunk"


def test_what_is_given_up_on_is_given_up_on(run):
    found = run(scorer, ["up"] * 8 + ["odd"], options={"retry": {"give_up_on": ["KeyError"]}})
    assert found[8] is E.PERMANENT


def test_refusals_go_back_at_once(run):
    def refuses(x, ctx):
        raise BreakerOpen("scorer", 1.0)

    assert run(refuses, [1, 2]) == {0: E.BREAKER_OPEN, 1: E.BREAKER_OPEN}


def test_a_dependency_that_the_items_left_do_not_call_holds_nothing_up(run):
    def sometimes(x, ctx):
        return scorer(x, ctx) if x == "down" else x

    run(sometimes, ["down"] * 4)
    breaker = run.breakers.get("scorer", {})
    breaker.rules.retry_at = 0.0
    assert breaker.hurts
    assert breaker.state is BreakerState.HALF_OPEN, "it waits for probes"
    run(sometimes, ["needs", "no", "service"])
    assert not breaker.hurts, "and nobody has to wait with it"


def test_a_fallback_keeps_the_chunk_going(run):
    def falls_back(x, ctx):
        return ctx.breaker("scorer", **POLICY).call(service, x, fallback="unknown")

    assert set(run(falls_back, ["down"] * 12).values()) == {E.NONE}
    assert not run.breakers.halted


def test_an_ordinary_exception_is_no_matter_of_breakers(run):
    def fails(x, ctx):
        raise ValueError("of its own")

    assert set(run(fails, range(50)).values()) == {E.PERMANENT}
    assert run.breakers.report() is None


def test_out_of_memory_everywhere_opens_the_verifiers_own_breaker(run):
    def hungry(x, ctx):
        raise MemoryError

    assert run(hungry, [1, 2])[0] is E.OUT_OF_MEMORY, "one item or two may be too large"
    assert set(run(hungry, range(20)).values()) == {E.BREAKER_OPEN}


def test_a_vectorised_verifier_is_judged_alike(run):
    class Vectorised:
        def verify_batch(self, table, ctx):
            return [ctx.breaker("scorer", **POLICY).call(service, x) for x in table.column("item").to_pylist()]

    found = run(Vectorised(), ["down"] * 8)
    assert set(found.values()) == {E.BREAKER_OPEN}
    assert len(found) < 8, "what was not begun is handed back"


def test_a_part_of_a_report_keeps_its_rows_together(runner, make_chunk):
    (report,) = runner.run(lambda x: service(x), make_chunk(["a", "down", "b", "odd"]))
    part = rows_of(report, np.array([1, 2]))
    assert part.indices.tolist() == [1, 2]
    assert part.failures.select(["position", "error_type"]).to_pylist() == [{"position": 0, "error_type": "OSError"}]
    assert part.output.column("output").to_pylist()[1] == {"value": "b"}
    assert rows_of(report, np.array([0, 2])).failures is None
    assert part.busy_s <= report.busy_s
