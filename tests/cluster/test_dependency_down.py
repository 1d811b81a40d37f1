"""A service that the verifiers call goes down, or gets slow: time is lost, and no job."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from dfbatch.client.client import Client

SLOW_S = 0.3
BREAKER = {"minimum_calls": 5, "window_calls": 10, "open_s": 0.5, "open_max_s": 1.0}
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Scorer(BaseHTTPRequestHandler):
    """Answers with the square of the number in the path, after a while if it is slow."""

    delay_s = 0.0
    n_answers = 0

    def do_GET(self) -> None:
        time.sleep(type(self).delay_s)
        number = int(self.path.strip("/"))
        body = str(number * number).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        type(self).n_answers += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it would flood the test's output."""


class Service:
    """The scorer on one port of loopback; it can be stopped, started again, and slowed."""

    def __init__(self) -> None:
        self.handler = type("Handler", (Scorer,), {})
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def n_answers(self) -> int:
        return int(self.handler.n_answers)

    def slow_down(self, seconds: float) -> None:
        self.handler.delay_s = seconds


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.stop()


class Scoring:
    """Asks the service for each item, through a breaker."""

    def __init__(self, port: int, policy: dict[str, Any]) -> None:
        self.url, self.policy = f"http://127.0.0.1:{port}", policy

    def __call__(self, item: int, ctx: Any) -> int:
        return int(ctx.breaker("scorer", **self.policy).call(self.ask, item))

    def ask(self, item: int) -> int:
        import time
        from urllib.request import urlopen

        time.sleep(0.004)
        with urlopen(f"{self.url}/{item}", timeout=5.0) as answer:
            return int(answer.read())


def turns_of(client: Client, since: int) -> dict[str, list[dict[str, Any]]]:
    """What ``events`` has about breakers after the row ``since``, by worker, in the order of the table."""
    rows = client._session.reader.read("events").sort_by([("epoch", "ascending"), ("seq", "ascending")]).to_pylist()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows[since:]:
        if row["kind"] == "breaker":
            found[row["worker_id"]].append({"at": row["at"], **json.loads(row["detail"])})
    return found


def n_events(client: Client) -> int:
    return len(client._session.reader.read("events"))


def assert_told_in_order(turns: list[dict[str, Any]], first_cause: str) -> None:
    """From closed, over open and half open as often as it took, to closed again; each with its cause."""
    assert [turn["at"] for turn in turns] == sorted(turn["at"] for turn in turns)
    for turn, following in pairwise(turns):
        assert turn["to"] == following["from"]
    assert (turns[0]["from"], turns[0]["to"], turns[0]["cause"]) == (CLOSED, OPEN, first_cause)
    assert (turns[-1]["from"], turns[-1]["to"], turns[-1]["cause"]) == (HALF_OPEN, CLOSED, "probes passed")
    for turn in turns:
        assert turn["dependency"] == "scorer"
        if turn["to"] == HALF_OPEN:
            assert turn["cause"] == "it has rested long enough"


def breakers_of(client: Client) -> list[str]:
    return [b["state"] for worker in client.workers() for b in worker["breakers"] if b["name"] == "scorer"]


def test_a_service_that_goes_down_costs_time_and_no_job(
    client: Client, service: Service, until: Callable[..., None]
) -> None:
    before = n_events(client)
    batch = client.map(Scoring, range(600), {"port": service.port, "policy": BREAKER})
    until(lambda: service.n_answers > 60)
    service.stop()
    until(lambda: batch.status == "stalled", 30)
    shown = batch.progress()
    assert "'scorer'" in (shown.reason or "")
    assert batch.id in str(client.health())
    assert {w["state"] for w in client.workers() if w["breakers"]} <= {"breaker_open", "running"}
    service.start()
    assert batch.results(60).values() == [k * k for k in range(600)], "work did not resume by itself"
    assert batch.counts() == {"succeeded": 600}
    assert max(batch.results()["attempts"].to_pylist()) <= 2, "an item was charged for the outage again and again"
    until(lambda: set(breakers_of(client)) == {CLOSED}, 30)
    turns: dict[str, list[dict[str, Any]]] = {}

    def all_told() -> bool:
        turns.update(turns_of(client, before))
        return len(turns) > 0 and all(told[-1]["to"] == CLOSED for told in turns.values())

    until(all_told, 30)
    for told in turns.values():
        assert_told_in_order(told, "too many calls failed")


def test_a_service_that_gets_slow_is_given_a_rest_too(
    client: Client, service: Service, until: Callable[..., None]
) -> None:
    before = n_events(client)
    batch = client.map(Scoring, range(300), {"port": service.port, "policy": {**BREAKER, "slow_after_s": SLOW_S / 2}})
    until(lambda: service.n_answers > 40)
    service.slow_down(SLOW_S)
    until(lambda: OPEN in breakers_of(client), 30)
    service.slow_down(0.0)
    assert batch.results(60).values() == [k * k for k in range(300)]
    until(lambda: any(told[-1]["to"] == CLOSED for told in turns_of(client, before).values()), 30)
    told = next(told for told in turns_of(client, before).values() if told[-1]["to"] == CLOSED)
    assert_told_in_order(told, "too many calls were slow")
