"""Probes: what orchestrators are told, by file and by port."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dfbatch.actors.probes import FRESH_S, Health, check_health, probe_port, write_health
from dfbatch.errors import ConnectError

NOW = 1_000_000.0


def health(*, live: bool = True, ready: bool = True) -> Health:
    return Health(live, ready, NOW, 17, [{"worker": "w-1", "state": "idle"}])


@pytest.mark.parametrize(("live", "ready"), [(True, True), (True, False), (False, False)])
def test_a_file_says_what_was_written(tmp_path: Path, live: bool, ready: bool) -> None:
    path = str(tmp_path / "health")
    write_health(path, health(live=live, ready=ready))
    assert (check_health(path, "live", NOW) is None) == live
    assert (check_health(path, "ready", NOW) is None) == ready
    assert os.listdir(tmp_path) == ["health"], "something was left beside it"


def test_an_old_file_was_left_by_a_process_that_hangs_or_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "health")
    write_health(path, health())
    assert check_health(path, "ready", NOW + FRESH_S) is None
    assert "hangs, or is gone" in str(check_health(path, "ready", NOW + FRESH_S + 1))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"at": "x"}', b'{"at": 1e6}', b"\xff" * 9, b"null"])
def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "health"
    path.write_bytes(content)
    assert "is no health file" in str(check_health(str(path), "ready", NOW))


def test_no_file_is_no_worker(tmp_path: Path) -> None:
    assert "no worker writes it" in str(check_health(str(tmp_path / "none"), "live"))


def ask(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_port_answers_with_200_or_503_and_why() -> None:
    now = [health(ready=False)]
    with probe_port("127.0.0.1", 0, lambda: now[0]) as port:
        assert ask(port, "/livez?verbose")[0] == 200
        code, body = ask(port, "/readyz")
        assert (code, json.loads(body)["workers"]) == (503, [{"worker": "w-1", "state": "idle"}])
        now[0] = health()
        assert ask(port, "/readyz")[0] == 200
        assert ask(port, "/readyz", "HEAD") == (200, b"")
        assert ask(port, "/")[0] == 404
        assert ask(port, "/readyz", "POST")[0] == 501


def test_a_port_outlives_those_who_send_nonsense_or_hang_up() -> None:
    with probe_port("127.0.0.1", 0, health) as port:
        for nonsense in (b"", b"\x00\xff\n\n", b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n"):
            # It may hang up before it is told everything.
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(nonsense)
        assert ask(port, "/livez")[0] == 200


def test_a_port_is_free_again_afterwards_and_a_taken_one_is_said() -> None:
    def free_again() -> int:
        with probe_port("127.0.0.1", 0, health) as port:
            pass
        with probe_port("127.0.0.1", port, health):
            return port

    for _ in range(5):  # somebody else of this machine may be quicker to take it
        with contextlib.suppress(ConnectError):
            assert free_again()
            break
    else:
        pytest.fail("no port was free again")
    with (
        probe_port("127.0.0.1", 0, health) as port,
        pytest.raises(ConnectError, match=f"127.0.0.1:{port} .*Choose another --health-port"),
        probe_port("127.0.0.1", port, health),
    ):
        pass
