"""The breakers of one worker: kept over chunks and batches, reported in order, told what to do by the operator."""

import pytest

from dfbatch.actors.breaker_book import BreakerBook, turn_rows
from dfbatch.actors.breakers import MOST_BREAKERS, WorkerBreakers
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.errors import InvalidInput


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    found = WorkerBreakers(clock)
    found.begin("v1")
    return found


EASY = {"minimum_calls": 1, "jitter": 0.0}


def down():
    raise OSError("down")


def open_it(breakers, name="scorer"):
    breaker = breakers.get(name, EASY)
    breaker.call(down, fallback=None)
    assert breaker.state is BreakerState.OPEN
    return breaker


def states(report):
    return {(view.verifier, view.name): view.state for view in report.views}


def test_a_breaker_belongs_to_a_verifier_and_a_name_and_is_kept(breakers):
    one = open_it(breakers)
    assert breakers.get("scorer", {}) is one
    assert breakers.get("other", {}) is not one
    breakers.begin("v2")
    assert breakers.get("scorer", {}).state is BreakerState.CLOSED
    breakers.begin("v1")
    assert breakers.get("scorer", {}) is one


def test_the_first_to_ask_says_the_policy_and_others_may_not_say_another(breakers):
    one = breakers.get("scorer", {"probes": 7, "ignore": lambda error: False})
    assert one.rules.policy.probes == 7
    assert breakers.get("scorer", {"probes": 7, "ignore": lambda error: False}) is one
    with pytest.raises(InvalidInput, match="same policy"):
        breakers.get("scorer", {"probes": 8})
    breakers.get("plain", {})
    with pytest.raises(InvalidInput, match="asked for first"):
        breakers.get("plain", {"probes": 8})


@pytest.mark.parametrize("name", ["", "x" * 101, 7, None, ["scorer"]])
def test_a_name_that_is_none_is_refused(breakers, name):
    with pytest.raises(InvalidInput, match="no name of a dependency"):
        breakers.get(name, {})


def test_names_without_end_do_not_fill_the_memory(breakers):
    for k in range(3 * MOST_BREAKERS):
        breakers.get(f"host-{k}", {"probes": 2})
    assert len(breakers._present) == MOST_BREAKERS
    assert len(breakers._given) == MOST_BREAKERS
    assert len(breakers.report().views) <= 50, "and messages stay small"


def test_verifiers_without_end_do_not_fill_the_memory(breakers):
    for k in range(100):
        breakers.begin(f"v{k}")
        breakers.get("scorer", {"probes": 2})
    assert len(breakers._sets) == 32
    assert len(breakers._given) == 32


def test_the_worker_halts_when_a_refusal_left_the_verifier_and_not_before(breakers, clock):
    open_it(breakers)
    assert not breakers.halted, "a fallback caught it"
    breakers.left(("scorer",))
    assert breakers.halted
    breakers.begin("v2")
    assert not breakers.halted
    breakers.begin("v1")
    assert breakers.halted
    clock.now += 6.0
    breakers.begin("v1")
    assert not breakers.halted, "it may be probed"


def test_a_worker_stays_while_a_breaker_rests_but_not_for_a_forced_one(breakers, clock):
    assert not breakers.keeps_busy()
    breaker = open_it(breakers)
    assert not breakers.keeps_busy(), "nothing waits for it"
    breakers.left(("scorer",))
    assert breakers.keeps_busy()
    breaker.force_open()
    assert not breakers.keeps_busy()


def test_a_report_tells_states_and_every_turn_until_it_is_confirmed(breakers, clock):
    assert WorkerBreakers(clock).report() is None
    open_it(breakers)
    clock.now += 5.0
    first = breakers.report()
    assert states(first) == {("v1", "scorer"): "half_open"}
    assert [(t.before, t.after) for t in first.turns] == [("closed", "open"), ("open", "half_open")]
    again = breakers.report()
    assert again.turns == first.turns
    assert again.number > first.number
    breakers.confirm(first)
    assert breakers.report().turns == ()


def test_a_breaker_that_closed_hurts_no_more(breakers, clock):
    breaker = open_it(breakers)
    breakers.left(("scorer",))
    assert breakers.report().views[0].blocks
    breaker.reset()
    assert not breakers.report().views[0].blocks


# --------------------------------------------------------------------------------- its own breakers


def test_its_own_breaker_opens_when_nearly_all_run_out_of_memory(breakers, clock):
    breakers.observe(100, 0, "")
    assert breakers.report() is None, "a verifier that works has none"
    breakers.observe(2, 9, "MemoryError")
    assert not breakers.halted
    for _ in range(2):
        breakers.observe(0, 10, "MemoryError")
    assert breakers.halted
    assert states(breakers.report()) == {("v1", OWN): "open"}
    clock.now += 12.0
    breakers.begin("v1")
    breakers.observe(1, 0, "")
    assert states(breakers.report()) == {("v1", OWN): "closed"}


def test_a_failed_construction_opens_at_once_and_is_tried_again(breakers, clock):
    breakers.constructed(None)
    assert breakers.report() is None
    breakers.constructed("no GPU here")
    assert states(breakers.report()) == {("v1", CONSTRUCTION): "open"}
    assert not breakers.halted, "whether its items fail or go back, the manager says"
    assert not breakers.tries_again
    clock.now += 12.0
    assert breakers.tries_again
    breakers.constructed(None)
    assert states(breakers.report()) == {("v1", CONSTRUCTION): "closed"}


# -------------------------------------------------------------------------------------- the operator


def test_an_order_is_carried_out_once_and_for_breakers_that_come_later(breakers):
    breakers.get("scorer", {})
    breakers.obey({"scorer": (1.0, "force_open"), "later": (1.0, "force_open")})
    assert states(breakers.report()) == {("v1", "scorer"): "open"}
    assert breakers.get("later", {}).state is BreakerState.OPEN
    breakers.get("scorer", {}).reset()
    breakers.obey({"scorer": (1.0, "force_open")})
    assert breakers.get("scorer", {}).state is BreakerState.CLOSED, "said once, done once"
    breakers.obey({"later": (2.0, "reset")})
    assert breakers.get("later", {}).state is BreakerState.CLOSED


# --------------------------------------------------------------------------------- the manager's book


def test_reports_come_by_two_ways_and_count_once(breakers, clock):
    book = BreakerBook()
    open_it(breakers)
    early = breakers.report()
    clock.now += 5.0
    late = breakers.report()
    seen, turns = book.take("w", "1", late, 1_000.0)
    assert [b.state for b in seen] == [BreakerState.HALF_OPEN]
    assert [t.after for t in turns] == ["open", "half_open"]
    assert book.take("w", "1", early, 1_000.0) == (None, []), "older news must not undo newer ones"
    seen, turns = book.take("w", "2", early, 1_000.0)
    assert seen is not None, "another process under the name begins anew"
    assert seen[0].retry_at == pytest.approx(1_005.0)
    assert len(turns) == 1


def test_turns_are_rows_with_cause_and_dependency(breakers):
    open_it(breakers)
    rows = turn_rows("w", breakers.report().turns, 3, 17).to_pylist()
    assert [(r["kind"], r["worker_id"], r["epoch"], r["seq"]) for r in rows] == [("breaker", "w", 3, 17)]
    assert (
        '"dependency": "scorer", "from": "closed", "to": "open", "cause": "too many calls failed"' in rows[0]["detail"]
    )


def test_a_flood_of_turns_is_bounded(breakers):
    book, taken = BreakerBook(), 0
    breaker = breakers.get("scorer", {})
    for _ in range(20):
        for _ in range(100):
            breaker.force_open()
            breaker.reset()
        report = breakers.report()
        taken += len(book.take("w", "1", report, 1_000.0)[1])
        breakers.confirm(report)
    assert taken == 1_000
    assert book.n_dropped == 20 * 200 - 1_000
