"""A dependency goes down under a real manager and real workers, without Ray."""

import json
import os
import time
from pathlib import Path

import pytest

from dfbatch import Retry
from dfbatch.actors.breaker_book import MOST_ORDERS, BreakerBook
from dfbatch.core import outcomes
from dfbatch.errors import InvalidInput

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def returns_come_soon(monkeypatch):
    monkeypatch.setattr(outcomes, "RETURN_DELAY_S", 0.1)


class NeedsFile:
    """Works while its file is there. ``gate`` holds the item ``at``."""

    def __init__(self, path, gate=None, at=None):
        self.path, self.gate, self.at = path, gate, at

    def __call__(self, item, ctx):
        if self.gate is not None and item == self.at:
            self.gate(item)
        policy = {"minimum_calls": 3, "window_calls": 10, "open_s": 0.3, "open_max_s": 0.5}
        return ctx.breaker("file", **policy).call(self.read, item)

    def read(self, item):
        time.sleep(0.001)
        return item + int(Path(self.path).read_text())


def put_up(path):
    """The service is there, from one moment to the next: nobody sees half of it."""
    beside = path.with_suffix(".new")
    beside.write_text("1000")
    os.replace(beside, path)


def breakers(client):
    return {b["name"]: b for worker in client.workers() for b in worker["breakers"]}


def test_breakers_live_on_when_the_manager_is_restarted(life, switch, start_worker, until, tmp_path):
    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    path = tmp_path / "service"
    batch = one.client.map(NeedsFile, range(300), {"path": str(path)})
    until(lambda: batch.status == "stalled", WAIT_S)
    until(lambda: "'file'" in (batch.progress().reason or ""), WAIT_S)
    until(lambda: [w["state"] for w in one.client.workers()] == ["breaker_open"], WAIT_S)  # between two probes
    opened = breakers(one.client)["file"]["opened"]
    switch.life = None
    one.crash()
    switch.life = two = life(workers=(0, 0))
    until(lambda: breakers(two.client).get("file", {}).get("opened", 0) >= opened, WAIT_S)
    put_up(path)
    again = two.client.attach(batch.id)
    assert again.results(90).values() == [k + 1000 for k in range(300)]
    until(lambda: breakers(two.client)["file"]["state"] == "closed", WAIT_S)


def test_an_item_that_went_back_too_often_says_what_it_lacked(life, switch, start_worker, tmp_path):
    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    batch = one.client.map(
        NeedsFile, range(4), {"path": str(tmp_path / "never")}, max_returns=0, retry=Retry(initial_s=0.05)
    )
    rows = batch.wait(60).failures().to_arrow().to_pylist()
    kinds = {row["error_type"] for row in rows}
    assert "DependencyUnavailable" in kinds
    told = next(row["error_message"] for row in rows if row["error_type"] == "DependencyUnavailable")
    assert "FileNotFoundError" in told or "circuit breaker" in told
    assert "retry_failed" in told


def test_an_operator_takes_a_dependency_out_of_service_and_puts_it_back(
    life, switch, start_worker, until, gate, tmp_path
):
    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    path = tmp_path / "service"
    path.write_text("1000")
    batch = one.client.map(NeedsFile, range(300), {"path": str(path), "gate": gate, "at": 10})
    breaker = one.client.breaker("file")
    gate.await_items()  # in the middle of the work
    until(lambda: len(breaker.workers()) > 0, WAIT_S)
    breaker.force_open()
    until(lambda: breaker.state == "open", WAIT_S)
    gate.open()
    until(lambda: breaker.state == "open" and batch.status == "stalled", WAIT_S)
    assert breaker.workers()[0]["retry_after_s"] is None
    breaker.reset()
    assert len(batch.results(90)) == 300
    until(lambda: breaker.state == "closed", WAIT_S)
    until(lambda: one.client.health()["backlog_rows"] == 0, WAIT_S)  # nobody waits for the rows of turns
    rows = one.client._session.reader.read("events").sort_by("seq").to_pylist()
    told = [json.loads(row["detail"]) for row in rows if row["kind"] == "breaker"]
    assert [t["cause"] for t in told] == ["forced open", "reset"]
    orders = [json.loads(row["detail"])["order"] for row in rows if row["kind"] == "breaker_order"]
    assert orders == ["force_open", "reset"]


def test_a_dependency_out_of_service_stays_so_for_the_next_manager(life, switch, start_worker, until, tmp_path):
    """A worker that starts later hears of it from a manager that was not there when it was said."""
    one = life(workers=(0, 0))
    one.client.breaker("file").force_open()
    one.client.breaker("other").force_open()
    one.client.breaker("other").reset()
    said = dict(one.manager.breaker_book.orders)
    one.crash()
    switch.life = two = life(workers=(0, 0))
    assert two.manager.breaker_book.orders == said, "workers who have obeyed would obey again"
    start_worker(switch)
    path = tmp_path / "service"
    path.write_text("1000")
    batch = two.client.map(NeedsFile, range(40), {"path": str(path)})
    until(lambda: batch.status == "stalled", WAIT_S)
    two.client.breaker("file").reset()
    assert len(batch.results(90)) == 40


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_what_is_no_name_of_a_dependency_is_refused(life, name):
    """An order goes to every worker with every answer."""
    with pytest.raises(InvalidInput, match="no name of a dependency"):
        life(workers=(0, 0)).link().call("order_breaker", name, "reset")


def test_of_very_many_orders_the_newest_are_kept():
    book = BreakerBook()
    book.order("again", 0.0, "force_open")
    for k in range(MOST_ORDERS - 1):
        book.order(f"d{k}", float(k), "force_open")
    book.order("again", 1e6, "reset")
    book.order("one more", 1e6, "reset")
    assert len(book.orders) == MOST_ORDERS
    assert book.orders["again"] == (1e6, "reset")
    assert "d0" not in book.orders
