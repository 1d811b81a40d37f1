"""The circuit breakers of a worker outlive its process: a limit that ends it counts, and what was open stays open."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from dfbatch.actors import breaker_memory
from dfbatch.actors.breaker_memory import BreakerMemory
from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.memory_limit import MemoryLimit, MemoryNote
from dfbatch.actors.messages import Control, ExchangeReply, HelloReply
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.worker import Worker
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.death import CONSTRUCTING
from dfbatch.errors import InvalidInput

pytestmark = pytest.mark.integration

HUNG = "Timeout (0:00:01)!\nThread 0x1 (most recent call first):\n"
EASY = {"minimum_calls": 1, "jitter": 0.0, "open_s": 20.0}


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def process(tmp_path, clock):
    """The breakers of the next process of one worker."""

    def begin(verifier="v1"):
        found = WorkerBreakers(clock, np.random.default_rng(1))
        found.keep_in(BreakerMemory(tmp_path / "w.breakers"))
        found.begin(verifier)
        return found

    return begin


def down():
    raise OSError("down")


def open_it(breakers, name="scorer"):
    breakers.get(name, EASY).call(down, fallback=None)
    breakers.left((name,))
    breakers.report()


def views(breakers):
    report = breakers.report()
    return {} if report is None else {(v.verifier, v.name): v for v in report.views}


# ------------------------------------------------------------------------------------ from process to process


def test_a_breaker_that_was_open_is_open_in_the_next_process_for_the_rest_of_its_time(process, clock):
    open_it(process())
    clock.now += 5.0
    after = process()
    view = views(after)["v1", "scorer"]
    assert (view.state, view.blocks, view.retry_after_s, view.opened) == ("open", True, 15.0, 1)
    assert view.last_error == "OSError: down"
    assert after.halted
    assert after.keeps_busy()
    clock.now += 15.0
    after.begin("v1")
    assert not after.halted, "it may be probed"
    breaker = after.get("scorer", EASY)
    for _ in range(3):
        breaker.call(int)
    assert breaker.state is BreakerState.CLOSED
    breaker.rules.validate()
    after.report()
    assert views(process()) == {}, "it has recovered"


def test_it_opens_for_longer_when_the_probes_of_the_next_process_fail(process, clock):
    open_it(process())
    clock.now += 20.0
    assert views(process())["v1", "scorer"].state == "half_open"
    clock.now += 1.0
    breaker = process().get("scorer", {**EASY, "probes": 1})
    assert breaker.state is BreakerState.HALF_OPEN, "it was half open, and is probed anew"
    breaker.call(down, fallback=None)
    breaker.rules.validate()
    assert breaker.rules.retry_after_s(clock.now) == pytest.approx(40.0)


def test_the_policy_is_that_of_the_last_process_until_it_is_given_again(process, clock):
    open_it(process())
    after = process()
    assert after.get("scorer", {}).rules.policy.open_s == 20.0
    ignored = after.get("scorer", {**EASY, "probes": 7, "ignore": OSError})
    assert ignored.rules.policy.probes == 7
    assert not ignored.rules.policy.counts(OSError())
    with pytest.raises(InvalidInput, match="same policy"):
        after.get("scorer", {**EASY, "probes": 8})


def test_an_order_is_not_carried_out_again(process):
    before = process()
    before.obey({"scorer": (1.0, "reset")})
    open_it(before)
    after = process()
    after.obey({"scorer": (1.0, "reset")})
    assert views(after)["v1", "scorer"].state == "open"
    after.obey({"scorer": (2.0, "force_open")})
    forced = process()
    assert views(forced)["v1", "scorer"].retry_after_s == float("inf")
    forced.obey({"scorer": (3.0, "reset")})
    assert views(forced)["v1", "scorer"].state == "closed"


def test_what_is_closed_or_concerns_the_process_itself_is_not_kept(process, tmp_path):
    breakers = process()
    breakers.get("fine", EASY).call(int)
    breakers.constructed("no GPU here")
    assert set(views(breakers)) == {("v1", "fine"), ("v1", CONSTRUCTION)}
    assert views(process()) == {}


def test_nothing_is_written_while_nothing_is_wrong(process, tmp_path):
    breakers = process()
    for _ in range(100):
        breakers.begin("v1")
        breakers.observe(100, 0, "")
        breakers.report()
    assert list(tmp_path.iterdir()) == []


def test_items_that_end_in_time_between_two_deaths_count(process):
    for _ in range(30):
        breakers = process()
        breakers.died_of("v1", 0, "ItemTimeout")
        breakers.observe(4, 0, "")
        breakers.begin("v1")
    assert views(breakers)["v1", OWN].state == "closed"
    assert views(breakers)["v1", OWN].failure_rate == pytest.approx(0.2)


def test_the_file_stays_small(process, tmp_path):
    for k in range(150):
        open_it(process(f"v{k % 30}"), f"host-{k}")
    path = tmp_path / "w.breakers"
    assert len(json.loads(path.read_text())["breakers"]) == breaker_memory.MOST_KEPT
    assert path.stat().st_size < 1 << 17


# --------------------------------------------------------------------------------------- what cannot be trusted


def test_a_file_of_another_boot_is_dropped(process, monkeypatch):
    open_it(process())
    monkeypatch.setattr(breaker_memory, "present_boot", lambda: "another")
    assert views(process()) == {}


def test_where_no_boot_has_a_name_its_time_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(breaker_memory, "_BOOT_ID", tmp_path / "none")
    assert breaker_memory.present_boot() == breaker_memory.present_boot()
    monkeypatch.setattr(breaker_memory.time, "monotonic", lambda: 1e6)
    before = breaker_memory.present_boot()
    monkeypatch.setattr(breaker_memory.time, "monotonic", lambda: 12.0)
    assert breaker_memory.present_boot() != before


def broken(found, *path, value):
    """The JSON with one value in it replaced, or taken away."""
    here = found
    for step in path[:-1]:
        here = here[step]
    if value is None:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("form",), 2),
        (("breakers",), "odd"),
        (("breakers", 0, "past"), 7),
        (("breakers", 0, "past", "state"), "ajar"),
        (("breakers", 0, "past", "n_openings"), -1),
        (("breakers", 0, "past", "n_openings"), float("inf")),
        (("breakers", 0, "past", "n_opened_ever"), 10**300),
        (("breakers", 0, "past", "retry_at"), "soon"),
        (("breakers", 0, "past", "retry_at"), float("nan")),
        (("breakers", 0, "past", "retry_at"), 10**400),
        (("breakers", 0, "past", "calls"), ["odd"]),
        (("breakers", 0, "past", "calls"), None),
        (("breakers", 0, "policy"), {"open_s": -1}),
        (("breakers", 0, "policy"), {"shell": "rm"}),
        (("breakers", 0, "verifier"), None),
        (("orders",), {"scorer": 5}),
    ],
)
def test_a_file_that_makes_no_sense_is_dropped(process, tmp_path, path, value):
    open_it(process())
    file = tmp_path / "w.breakers"
    file.write_text(broken(json.loads(file.read_text()), *path, value=value))
    assert views(process()) == {}


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"{", b"[" * 100_000, b" " * (1 << 19)])
def test_a_file_that_is_none_is_dropped(process, tmp_path, data):
    (tmp_path / "w.breakers").write_bytes(data)
    assert views(process()) == {}


def test_counts_beyond_any_window_cost_neither_memory_nor_time(process, tmp_path, clock):
    open_it(process())
    file = tmp_path / "w.breakers"
    file.write_text(broken(json.loads(file.read_text()), "breakers", 0, "past", "calls", value=[1] * 50_000))
    found = json.loads(file.read_text())
    file.write_text(broken(found, "breakers", 0, "past", "retry_at", value=1e300))
    view = views(process())["v1", "scorer"]
    assert view.retry_after_s <= 20.0, "it rests no longer than its policy says"
    assert view.failure_rate == 1.0


def test_a_disk_that_refuses_costs_only_the_memory(process, tmp_path):
    breakers = process()
    (tmp_path / "w.breakers-new").mkdir()
    open_it(breakers)
    assert breakers.halted


# ------------------------------------------------------------------------------------------ the worker's deaths


class Crashing(PositionMark):
    """The mark of a process that will not end in good order: nothing is removed."""

    def remove(self, is_renewed=False):
        pass


class OneHello:
    """A manager that takes a hello, keeps it, and lets the worker go."""

    def __init__(self):
        self.heard = []

    def hello(self, message):
        self.heard.append(message)
        return HelloReply(1, frozenset())

    def exchange(self, message):
        return ExchangeReply(Control(1, leave=True))

    def heartbeat(self, beat):
        return Control(1)

    def hand_back(self, worker, lease_id):
        raise AssertionError("it held nothing")

    def leave(self, worker, incarnation):
        pass


class Ended(MemoryLimit):
    """The guard of a process whose predecessor ended as the note says."""

    def __init__(self, note):
        super().__init__()
        self._last = note


@pytest.fixture
def dies(tmp_path, clock):
    """A worker is ended at an item of a chunk; returns what its next process says of its breakers, by name.

    No time passes for the breakers, however long it takes.
    """
    port, others = OneHello(), set(threading.enumerate())

    def die(*, stack=HUNG, verifier="v1", chunk=(10, 11, 12, 13), at=10, memory=None):
        mark = Crashing(tmp_path, "w")
        mark.begin(verifier, np.array(chunk))
        mark.cells[0], mark.cells[1] = 7, at
        mark.stack_path.write_text(stack)
        worker = Worker("w", port, None, mark, memory=memory)
        worker.context.breakers._clock = clock
        worker.run()
        left = set(threading.enumerate()) - others
        assert not [t for t in left if t.name in ("dfbatch-exchange", "dfbatch-heartbeat")]
        report = port.heard[-1].breakers
        return {} if report is None else {(v.verifier, v.name): v for v in report.views}

    return die


def test_time_limits_that_end_the_process_open_the_verifiers_own_breaker(dies):
    for _ in range(9):
        assert dies()["v1", OWN].state == "closed"
    view = dies()["v1", OWN]
    assert (view.state, view.blocks, view.probes) == ("open", True, 1)
    assert view.last_error == "ItemTimeout"
    assert view.retry_after_s > 5.0
    assert dies()["v1", OWN].opened == 1, "a straggler changes nothing"


def test_each_verifier_has_its_own(dies):
    for k in range(18):
        seen = dies(verifier=f"v{k % 2}")
    assert {name: view.state for name, view in seen.items()} == {("v0", OWN): "closed", ("v1", OWN): "closed"}
    seen = dies(verifier="v0")
    assert {name: view.state for name, view in seen.items()} == {("v0", OWN): "open", ("v1", OWN): "closed"}


def test_what_was_fine_long_ago_is_forgotten(dies):
    for _ in range(5):
        dies(at=13)
    for _ in range(16):
        assert dies()["v1", OWN].state == "closed"
    assert dies()["v1", OWN].state == "open"


def test_items_of_the_chunk_that_ended_before_the_fatal_one_count_as_well(dies):
    for _ in range(30):
        view = dies(at=12)["v1", OWN]
    assert view.state == "closed"
    assert view.failure_rate == pytest.approx(1 / 3, abs=0.05)


def test_over_its_memory_counts_and_other_deaths_do_not(dies):
    assert dies(stack="") == {}
    assert dies(stack="Fatal Python error: Segmentation fault\n") == {}
    assert dies(at=CONSTRUCTING) == {}
    over = Ended(MemoryNote(True, 1 << 30, 1 << 29, 0))
    assert dies(stack="", memory=over)["v1", OWN].last_error == "HostOutOfMemory"


def test_a_worker_that_leaves_in_good_order_leaves_no_memory(dies, tmp_path):
    dies()
    assert (tmp_path / "w.breakers").exists()
    Worker("w", OneHello(), None, PositionMark(tmp_path, "w")).run()
    assert list(tmp_path.iterdir()) == []
