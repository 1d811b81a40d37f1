"""A chunk run at once, and in halves where that fails."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbatch.actors import vector_run
from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import BreakerOpen


class Adder:
    """Adds one; fails on any table that holds a number of ``bad``. Remembers the tables it was given."""

    def __init__(self, bad=(), error=ValueError):
        self.bad, self.error, self.sizes = set(bad), error, []

    def verify_batch(self, table):
        self.sizes.append(len(table))
        found = self.bad & set(table.column("item").to_pylist())
        if found:
            raise self.error(f"cannot add {min(found)}")
        return pc.add(table.column("item"), 1)


def judged(reports):
    """Each job's (error class, output), by index; every job at most once."""
    found = {}
    for report in reports:
        outputs = report.output.column("output").to_pylist() if report.output is not None else []
        for k, index in enumerate(report.indices.tolist()):
            assert index not in found
            found[index] = (int(report.error_class[k]), outputs[k]["value"] if outputs else None)
    return found


def test_a_chunk_is_one_call(runner, make_chunk):
    adder = Adder()
    (outcomes,) = runner.run(adder, make_chunk(range(100)))
    assert adder.sizes == [100]
    assert outcomes.output.column("output").to_pylist()[99] == {"value": 100}
    assert outcomes.duration_s.sum() == pytest.approx(outcomes.busy_s)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(bad=st.sets(st.integers(0, 40), max_size=8), n=st.integers(1, 41))
def test_exactly_the_items_at_fault_fail(runner, make_chunk, bad, n):
    found = judged(runner.run(Adder(bad), make_chunk(range(n))))
    assert found == {k: (ErrorClass.PERMANENT, None) if k in bad else (ErrorClass.NONE, k + 1) for k in range(n)}


def test_neighbours_of_many_failures_are_never_taken_with_them(runner, make_chunk):
    """However alike the failures of all others were."""
    found = judged(runner.run(Adder(set(range(64)) - {63}), make_chunk(range(64))))
    assert found[63] == (ErrorClass.NONE, 64)


def test_one_bad_item_costs_few_calls(runner, make_chunk):
    adder = Adder({500})
    list(runner.run(adder, make_chunk(range(1024))))
    assert len(adder.sizes) <= 2 * 10 + 1


def test_failures_of_single_items_travel_together(runner, make_chunk):
    (outcomes,) = runner.run(Adder(range(8)), make_chunk(range(8)))
    assert outcomes.failures.column("position").to_pylist() == list(range(8))
    assert outcomes.failures.column("error_message")[3].as_py() == "cannot add 3"


def test_failures_are_reported_before_the_chunk_ends(runner, make_chunk, monkeypatch):
    monkeypatch.setattr(vector_run, "FLUSH_S", 0.0)
    reports = list(runner.run(Adder(range(4)), make_chunk(range(4))))
    assert [r.indices.tolist() for r in reports] == [[0], [1], [2], [3]]


def test_an_open_breaker_is_no_fault_of_an_item(runner, make_chunk):
    adder = Adder({3}, BreakerOpen)
    (outcomes,) = runner.run(adder, make_chunk(range(8)))
    assert adder.sizes == [8]
    assert set(outcomes.error_class.tolist()) == {ErrorClass.BREAKER_OPEN}


def test_a_lease_called_back_ends_between_two_calls(runner, make_chunk):
    runner.recall_after = 2
    adder = Adder({7})
    found = judged(runner.run(adder, make_chunk(range(8))))
    assert adder.sizes == [8, 4]
    assert sorted(found) == [0, 1, 2, 3]


def test_the_mark_stands_at_the_first_item_of_the_call(runner, make_chunk):
    seen = []

    class Looks:
        def verify_batch(self, table, ctx):
            seen.append((runner.mark.last(), ctx.job_id, ctx.attempt))

    list(runner.run(Looks(), make_chunk(range(3), first=5, lease_id=2, attempts=1)))
    assert seen == [((2, 5), "k3f2m9qx-5", 2)]
    assert runner.mark.last() is None


def test_a_wrong_number_of_answers_fails_every_item_it_concerns(runner, make_chunk):
    class Drops:
        def verify_batch(self, table):
            return table.slice(0, 0)

    (outcomes,) = runner.run(Drops(), make_chunk(range(4)))
    assert outcomes.error_class.tolist() == [ErrorClass.PERMANENT] * 4
    assert set(outcomes.failures.column("error_type").to_pylist()) == {"OutputInvalid"}


def test_the_verifier_gets_the_column_item(runner, make_chunk):
    tables = []

    class Keeps:
        def verify_batch(self, table):
            tables.append(table)

    list(runner.run(Keeps(), make_chunk([1.5, 2.5])))
    assert tables[0].equals(pa.table({"item": [1.5, 2.5]}))


class Hungry:
    """Fits ``room`` items; more of them raise ``error``. Remembers the sizes that it was given."""

    def __init__(self, room, error):
        self.room, self.error, self.sizes = room, error, []

    def verify_batch(self, table):
        self.sizes.append(len(table))
        if len(table) > self.room:
            raise self.error
        return pc.add(table.column("item"), 1)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; ...)")]
)
def test_a_micro_batch_that_runs_out_of_memory_is_halved_and_the_size_is_remembered(runner, make_chunk, error):
    hungry = Hungry(10, error)
    found = judged(runner.run(hungry, make_chunk(range(64))))
    assert found == {k: (ErrorClass.NONE, k + 1) for k in range(64)}
    assert hungry.sizes[:4] == [64, 32, 16, 8]
    assert max(hungry.sizes[3:]) <= 10


def test_the_next_chunk_begins_with_the_size_that_fitted(runner, make_chunk):
    hungry = Hungry(10, MemoryError())
    loaded = runner.load(hungry)
    list(runner.run_loaded(loaded, make_chunk(range(64))))
    hungry.sizes.clear()
    list(runner.run_loaded(loaded, make_chunk(range(24), first=100)))
    assert hungry.sizes[0] <= 10


@pytest.mark.parametrize(
    ("error", "name"),
    [(MemoryError("much"), "HostOutOfMemory"), (RuntimeError("CUDA out of memory"), "GpuOutOfMemory")],
)
def test_an_item_that_does_not_even_fit_alone_fails_as_out_of_memory(runner, make_chunk, error, name):
    found = list(runner.run(Hungry(0, error), make_chunk(range(2))))
    assert {int(c) for report in found for c in report.error_class} == {ErrorClass.OUT_OF_MEMORY}
    assert {t for report in found for t in report.failures.column("error_type").to_pylist()} == {name}


def test_the_mark_says_how_many_items_are_run_in_one_call(runner, make_chunk):
    seen = []

    class Looks:
        def verify_batch(self, table):
            seen.append((runner.mark.last(), runner.mark.last_count()))

    list(runner.run(Looks(), make_chunk(range(6), first=5, lease_id=2)))
    assert seen == [((2, 5), 6)]
