"""``client.health()``: facts, and what is wrong in sentences that say what to do next."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from dfbatch.client.health import LOW_BYTES, Health, health, problems_of
from dfbatch.client.session import Session
from dfbatch.errors import ManagerUnavailable
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture
def facts(ledger_path: Any) -> dict[str, Any]:
    """Those of a manager with nothing to complain of."""
    with InProcess(ledger_path) as client:
        client.map(lambda x: x, range(3)).wait(WAIT_S)
        return dict(client._session.call("health"))


def test_a_manager_that_is_well_says_so_in_one_line(ledger_path: Any) -> None:
    with InProcess(ledger_path) as client:
        client.map(lambda x: x, range(3), queue="scans").wait(WAIT_S)
        found = client.health()
    assert found.ok
    assert (found.problems, found.status, found["epoch"]) == ([], "running", 1)
    assert found["free_bytes"] > 0
    assert found["uptime_s"] > 0
    assert 0 <= found["last_sample_age_s"] < WAIT_S
    assert [queue["queue"] for queue in found["queues"]] == ["scans"]
    assert sum(found["workers_by_state"].values()) >= 1
    assert "ok: manager running (epoch 1)" in repr(found)
    assert "\n" not in repr(found)
    assert "healthy" in found._repr_html_()


def test_it_is_json_as_it_is_and_survives_a_pickle(facts: dict[str, Any]) -> None:
    found = Health(facts, ok=True, problems=[])
    assert json.loads(json.dumps(found))["status"] == "running"
    again = pickle.loads(pickle.dumps(found))
    assert (again, again.ok, type(again)) == (found, True, Health)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "recovering", "reason": "the mount is away"}, ["reads the ledger back", "the mount is away."]),
        ({"status": "fenced"}, ["newer manager", "dfbatch.connect()"]),
        ({"reason": "Rows could not be made durable: x"}, ["Rows could not be made durable: x."]),
        ({"storage_refusing": "no space left", "reason": "no space left"}, ["no space left", "Make room", "/"]),
        ({"free_bytes": LOW_BYTES - 1}, ["Only 1.1 GB are free", "Make room before"]),
        ({"backlog_rows": 2_000_000}, ["2,000,000 rows wait", "slower than the work", "client.scale(0, n)"]),
        ({"open_breakers": {"scorer": 2}}, ["'scorer' is open on 2 workers", "lose no attempt", "by themselves"]),
        ({"open_breakers": {"(verifier)": 1}}, ["(verifier) is open on 1 worker", "client.workers()"]),
        ({"stalled": {"k3f2m9qx": "no worker is there"}}, ["Batch k3f2m9qx does not move", "client.scale(0, n)"]),
        ({"stalled": {"k3f2m9qx": "queue 'q' runs at its limit"}}, ["client.queue(name).policy"]),
        ({"stalled": {"k3f2m9qx": "all workers are busy"}}, ["client.workers()"]),
        ({"workers_by_state": {"lost": 1, "idle": 2}}, ["A worker has died", "client.workers()"]),
        ({"workers_by_state": {"lost": 3}}, ["3 workers have died"]),
        ({"idle_but_backlog": ["w1"]}, ["Idle though work is queued", "w1"]),
        ({"last_sample_age_s": 300.0}, ["has not looked at itself for 300 s"]),
    ],
)
def test_each_trouble_is_one_sentence_with_what_to_do(
    facts: dict[str, Any], changes: dict[str, Any], words: list[str]
) -> None:
    assert problems_of(facts) == []
    (said,) = problems_of({**facts, **changes})
    assert all(word in said for word in words), said
    assert said.endswith(".")


def test_many_stalled_batches_are_counted_not_listed(facts: dict[str, Any]) -> None:
    said = problems_of({**facts, "stalled": {f"k3f2m9q{k}": "no worker is there" for k in range(9)}})
    assert len(said) == 6
    assert "4 more batches do not move" in said[-1]


def test_text_of_strangers_cannot_break_the_page(facts: dict[str, Any]) -> None:
    bad = problems_of({**facts, "open_breakers": {"<script>alert(1)</script>": 1}})
    page = Health(facts, ok=False, problems=bad)._repr_html_()
    assert "<script>" not in page
    assert "needs attention" in page
    assert "  - The circuit breaker" in repr(Health(facts, ok=False, problems=bad))


class Nobody:
    """A link behind which nobody answers."""

    def call(self, method: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        raise ManagerUnavailable("the node is gone")


def test_a_manager_that_does_not_answer_is_a_finding_not_an_error(ledger_path: Any, monkeypatch: Any) -> None:
    from dfbatch.client import health as health_module

    monkeypatch.setattr(health_module, "_PATIENCE_S", 0.1)
    with InProcess(ledger_path):
        storage = open_storage(ledger_path)
        found = health(Session(Nobody(), storage, LedgerReader(storage)))
    assert (found.ok, found.status, found["epoch"]) == (False, "unreachable", 0)
    assert "the node is gone" in found.problems[0]
    assert "manager unreachable" in repr(found)


def test_a_storage_that_refuses_is_told_while_it_does(ledger_path: Any, gate: Any) -> None:
    with InProcess(ledger_path) as client:
        from dfbatch.core import events

        state = client._session.link._manager.state
        state.handle(events.StorageHealth("no space left on device"), client._session.link._manager.now())
        found = client.health()
        assert not found.ok
        assert "no space left on device" in found.problems[0]
        state.handle(events.StorageHealth(None), client._session.link._manager.now())
        assert client.health().ok
