"""A service that the verifiers call goes down, or gets slow: time is lost, and no job."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from dfbatch.client.batch import Batch
from dfbatch.client.client import Client
from dfbatch.client.ledger_progress import batch_row
from dfbatch.core.retry import Retry

SLOW_S = 1.0
BREAKER = {"minimum_calls": 5, "window_calls": 10, "open_s": 0.5, "open_max_s": 1.0}
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Scorer(BaseHTTPRequestHandler):
    """Answers with the square of the number in the path, so many times; from then on its trouble is as it is set."""

    is_down = False
    """It takes calls and hangs up. Its port stays its own: nobody else may get it meanwhile."""
    delay_s = 0.0
    n_calls = 0
    trouble_from = math.inf
    counting = threading.Lock()

    def do_GET(self) -> None:
        mine = type(self)
        with mine.counting:
            mine.n_calls += 1
            is_troubled = mine.n_calls > mine.trouble_from
        if is_troubled and mine.is_down:
            self.close_connection = True
            return
        time.sleep(mine.delay_s if is_troubled else 0.0)
        number = int(self.path.strip("/"))
        body = str(number * number).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it would flood the test's output."""


class Service:
    """The scorer on one port of loopback. What befalls it comes after a number of calls, in the middle of the work."""

    def __init__(self) -> None:
        self.handler = type("Handler", (Scorer,), {})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def goes_down_after(self, n_calls: int) -> None:
        self.handler.is_down, self.handler.trouble_from = True, n_calls

    def slows_down_after(self, n_calls: int, seconds: float) -> None:
        self.handler.delay_s, self.handler.trouble_from = seconds, n_calls

    def is_well_again(self) -> None:
        self.handler.trouble_from = math.inf

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.end()


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
        with urlopen(f"{self.url}/{item}", timeout=60.0) as answer:
            return int(answer.read())


def turns_of(client: Client, batch: Batch) -> dict[str, list[dict[str, Any]]]:
    """What ``events`` has about breakers of the verifier of the batch, by worker, in the order of the table."""
    verifier = batch_row(client._session.reader, batch.id)["verifier_fingerprint"]
    rows = client._session.reader.read("events").sort_by([("epoch", "ascending"), ("seq", "ascending")]).to_pylist()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "breaker" and (detail := json.loads(row["detail"]))["verifier"] == verifier:
            found[row["worker_id"]].append({"at": row["at"], **detail})
    return found


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


def told_to_the_end(client: Client, batch: Batch, scoring: Callable[[int], Batch]) -> dict[str, list[dict[str, Any]]]:
    """The turns of every worker whose breaker opened and is closed again, which takes calls: so there is work.

    One is enough: which worker gets the work, and so closes its breaker, is a matter of chance.
    """
    deadline = time.monotonic() + 300
    while True:
        found = turns_of(client, batch)
        closed = {worker: told for worker, told in found.items() if told[-1]["to"] == CLOSED}
        if closed:
            return closed
        assert time.monotonic() < deadline, found
        scoring(100).wait(200)


def test_a_service_that_goes_down_costs_time_and_no_job(
    client: Client, service: Service, until: Callable[..., None]
) -> None:
    def scoring(n: int) -> Batch:
        return client.map(Scoring, range(n), {"port": service.port, "policy": BREAKER}, retry=Retry(max_attempts=20))

    service.goes_down_after(60)
    batch = scoring(600)
    seen: list[tuple[str, str]] = []

    def is_stalled() -> bool:
        shown = batch.progress()
        seen.append((str(shown.status), shown.reason or ""))
        return shown.status == "stalled"

    until(is_stalled)
    assert "'scorer'" in seen[-1][1]
    until(lambda: batch.id in str(client.health()["stalled"]))
    until(lambda: "breaker_open" in {w["state"] for w in client.workers()})  # between two probes
    assert batch.counts().get("succeeded", 0) <= 60
    service.is_well_again()
    assert batch.results(200).values() == [k * k for k in range(600)], "work did not resume by itself"
    assert batch.counts() == {"succeeded": 600}
    # Only what fails before a breaker opens is charged, on each of the two workers.
    n_charged = sum(batch.results()["attempts"].to_pylist()) - 600
    assert n_charged <= 2 * (BREAKER["minimum_calls"] - 1), "items were charged for the outage again and again"
    for told in told_to_the_end(client, batch, scoring).values():
        assert_told_in_order(told, "too many calls failed")


def test_a_service_that_gets_slow_is_given_a_rest_too(
    client: Client, service: Service, until: Callable[..., None]
) -> None:
    policy = {**BREAKER, "slow_after_s": SLOW_S / 2}

    def scoring(n: int) -> Batch:
        return client.map(Scoring, range(n), {"port": service.port, "policy": policy})

    service.slows_down_after(40, SLOW_S)
    batch = scoring(300)
    until(lambda: OPEN in breakers_of(client))
    service.is_well_again()
    assert batch.results(200).values() == [k * k for k in range(300)]
    for told in told_to_the_end(client, batch, scoring).values():
        assert_told_in_order(told, "too many calls were slow")
