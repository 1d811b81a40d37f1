"""Who leaves the pool: those without a place, those idle for long, and the busy only where another goes without."""

import pytest

from dfbatch.actors.pool_members import RETURN_S, Member, placed, who_leaves
from dfbatch.core.books import Worker
from dfbatch.core.pool_size import Limits

IDLE_S = 60.0
NOW = 1_000.0


def member(shape="default", *, here=True, come=True, idle_since=None, gone_since=None):
    return Member(None, shape, {"CPU": 1.0}, NOW - 500, here, come, gone_since, idle_since)


def worker(name="w", **facts):
    found = Worker(name, "1", "default", None, "node-1", 2, seen_at=NOW, started_at=NOW)
    for fact, value in facts.items():
        setattr(found, fact, value)
    return found


@pytest.mark.parametrize(
    ("members", "target", "high", "leave"),
    [
        ({"a": member(), "b": member()}, 2, 2, []),
        # Not needed just now, but they may be soon.
        ({"a": member(idle_since=NOW - 1), "b": member(idle_since=NOW - 1)}, 0, 2, []),
        # To zero if allowed, once they were idle for long.
        ({"a": member(idle_since=NOW - 61), "b": member(idle_since=NOW - 61)}, 0, 2, ["a", "b"]),
        # One has to stay, whoever it is.
        ({"a": member(idle_since=NOW - 61), "b": member(idle_since=NOW - 61)}, 1, 2, ["a"]),
        # A worker at work is never sent away for want of work.
        ({"a": member(), "b": member()}, 0, 2, []),
        # Below the limit the idle leave first, then the newest.
        ({"a": member(), "b": member(idle_since=NOW), "c": member()}, 2, 2, ["b"]),
        ({"a": member(), "b": member(), "c": member()}, 2, 2, ["c"]),
        # Who has no place is not waited for any longer than needed, the last one asked first.
        ({"a": member(here=False, come=False), "b": member(here=False, come=False)}, 1, 4, ["b"]),
        # Who died has a moment to come back and tell what of.
        ({"a": member(here=False, gone_since=NOW - 1)}, 0, 4, []),
        ({"a": member(here=False, gone_since=NOW - RETURN_S - 1)}, 0, 4, ["a"]),
    ],
)
def test_who_leaves(members, target, high, leave):
    assert who_leaves(members, {"default": target}, Limits(0, high), IDLE_S, NOW) == leave


def test_a_worker_makes_way_for_another_shape():
    members = {"a": member(), "b": member()}
    assert who_leaves(members, {"default": 1, "cpu1-gpu1": 1}, Limits(0, 2), IDLE_S, NOW) == ["b"]


def test_a_member_is_idle_from_the_first_look_at_which_it_has_done_nothing_new():
    found = member(here=False, come=False)
    found.look(None, NOW)
    assert (found.is_here, found.has_come, found.gone_since) == (False, False, NOW)
    found.look(worker(n_done=5), NOW + 1)
    assert (found.is_here, found.idle_since) == (True, None), "it has done something since it was last looked at"
    found.look(worker(n_done=5), NOW + 2)
    assert found.idle_since == NOW + 2
    found.look(worker(n_done=5), NOW + 9)
    assert found.idle_since == NOW + 2
    found.look(worker(n_done=5, leases={1: None}), NOW + 10)
    assert found.idle_since is None
    found.look(worker(n_done=5, lost_at=NOW), NOW + 11)
    assert (found.is_here, found.has_come, found.gone_since) == (False, True, NOW + 11)


def test_only_those_who_work_take_room():
    members = {"a": member(idle_since=NOW), "b": member(here=False), "c": member()}
    assert [(p.name, p.node, p.is_idle) for p in placed(members, {"a": worker("a"), "b": worker("b")})] == [
        ("a", "node-1", True)
    ]
