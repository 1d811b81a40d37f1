"""The log of a worker process. It changes the streams of its process, so most of it is watched in another one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors import log_format
from dfbatch.actors.log_format import JsonLines, TextLines, log_handler
from dfbatch.actors.worker_log import asked_level, log_file

pytestmark = pytest.mark.integration

SPEAKS = """
import logging, sys, threading, time, warnings
from pathlib import Path
from dfbatch.actors.context import JobContext
from dfbatch.actors.log_format import log_handler
from dfbatch.actors.worker_log import speak_of_jobs
context = JobContext()
path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
speak_of_jobs("w-1", context, log_handler("json", path), "WARNING")
print("before")
context.batch_id, context.job_index, context.begun = "k3f2m9qx", 7, time.perf_counter()
print("hello"); print("oh", file=sys.stderr)
context.log.info("for the job")
logging.getLogger("theirs").warning("careful")
logging.getLogger("theirs").info("not asked for")
logging.getLogger("dfbatch.worker").warning("ours")
warnings.warn("old")
def beat(): print("ours too"); logging.getLogger("dfbatch.worker").warning("beat")
for thread in (threading.Thread(target=beat, name="dfbatch-heartbeat"), threading.Thread(target=print, args=("pool",))):
    thread.start(); thread.join()
sys.__stdout__.write("\\n".join(line.text for line in context.said.take()))
"""


def speak(*arguments: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """What the job said, and the records on standard error."""
    command = [sys.executable, "-c", SPEAKS, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    return run.stdout.splitlines(), [json.loads(line) for line in run.stderr.splitlines()]


def test_every_line_has_its_worker_and_job_and_jobs_hear_of_their_own() -> None:
    said, records = speak()
    assert said[:5] == ["hello", "oh", "INFO for the job", "WARNING careful", said[4]]
    assert "UserWarning: old" in said[4]
    assert said[-1] == "pool"
    assert not {"before", "ours too", "WARNING ours", "WARNING beat"} & set(said)
    by_message = {record["message"]: record for record in records}
    assert "not asked for" not in by_message
    assert {record["worker"] for record in records} == {"w-1"}
    assert by_message["before"]["job_id"] is None
    assert by_message["beat"]["job_id"] is None
    about = {name: by_message["careful"][name] for name in ("level", "logger", "batch_id", "job_id")}
    assert about == {"level": "WARNING", "logger": "theirs", "batch_id": "k3f2m9qx", "job_id": "k3f2m9qx-7"}
    assert by_message["hello"]["logger"] == "stdout"


def test_with_a_file_nothing_reaches_the_streams(tmp_path: Path) -> None:
    said, records = speak(tmp_path / "log")
    assert said[0] == "hello"
    assert records == []
    messages = [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()]
    assert messages[:3] == ["before", "hello", "oh"]


def record(message: str, **more: Any) -> logging.LogRecord:
    found = logging.LogRecord("n", logging.INFO, "", 0, message, None, more.pop("exc_info", None))
    found.__dict__.update(more)
    return found


def test_json_is_one_line_whatever_is_said() -> None:
    line = JsonLines().format(record('two\nlines "and" \udcff \x1b[31m'))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'two\nlines "and" \udcff \x1b[31m'
    assert json.loads(line)["time"].endswith("+00:00")


def test_json_has_the_exception() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        line = JsonLines().format(record("failed", exc_info=sys.exc_info()))
    assert json.loads(line)["exception"].endswith("ValueError: bad")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, " INFO hello"),
        ({"worker": "w"}, " INFO [w] hello"),
        ({"worker": "w", "job_id": "b-1"}, " INFO [b-1] hello"),
    ],
)
def test_text_says_whom_it_is_about(fields: dict[str, str], shown: str) -> None:
    assert TextLines().format(record("hello", **fields)).endswith(shown)


def test_a_full_file_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_format, "FILE_BYTES", 2_000)
    handler = log_handler("text", tmp_path / "log")
    for k in range(200):
        handler.handle(record(f"line {k}"))
    handler.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"log", "log.1"}
    assert max(sizes.values()) <= 2_000
    assert (tmp_path / "log").read_text().endswith("line 199\n")


def test_a_level_that_is_not_known_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBATCH_LOG_LEVEL", "debug")
    assert asked_level() == "DEBUG"
    monkeypatch.setenv("DFBATCH_LOG_LEVEL", "loud")
    assert asked_level() == "WARNING"


def test_a_file_is_named_after_its_worker() -> None:
    path = log_file("/logs", "dfbatch-worker:ab:1")
    assert path is not None
    assert path.name.startswith("dfbatch-worker-ab-1-")
    assert log_file(None, "w") is None
