"""``dfbatch verify`` from start to end, on a Ray of its own: the one test of the command line that starts one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(500)
_PLAIN = "from dfbatch.cli.app import main; main()"
_HELD = f"""
import threading
from dfbatch.client.client import Client

verify = Client.verify

def held(client, *arguments, **options):
    queue = client.queue("verification").pause()
    batch = verify(client, *arguments, **options)
    threading.Timer(4.0, queue.resume).start()
    return batch

Client.verify = held
{_PLAIN}
"""
"""The work begins some time after the wait: of a batch that has ended before, a wait shows nothing."""


def run(*arguments: str | Path, code: str = _PLAIN) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env=environment,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that can be verified, and one that was cut off."""
    root = tmp_path_factory.mktemp("media")
    Image.effect_noise((200, 150), 60).convert("RGB").save(root / "noise.jpg", quality=90)
    whole = (root / "noise.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    return root


@pytest.fixture(scope="module")
def verified(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command as a person types it, and the folder it wrote to."""
    out = tmp_path_factory.mktemp("out")
    done = run(
        *("verify", folder, "--workers", "1", "--storage", out / "ledger", "--name", "two pictures"),
        *("--out", out / "results.parquet", "--report", out / "report.html"),
        code=_HELD,
    )
    return done, out


def test_a_folder_with_a_broken_file_ends_with_1_and_a_verdict_for_each(
    verified: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, out = verified
    assert done.returncode == 1, done.stderr
    assert max(len(line) for line in done.stdout.splitlines() if str(out) not in line) <= 80
    assert "2 items: 1 failed" in done.stdout
    assert "MediaTruncated" in done.stdout
    assert str(out / "ledger") in done.stdout
    assert str(out / "results.parquet") in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_table_and_the_report_were_written(verified: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = verified
    rows = {Path(row["uri"]).name: row for row in pq.read_table(out / "results.parquet").to_pylist()}
    assert rows["noise.jpg"]["status"] == "succeeded"
    assert rows["noise.jpg"]["verdict"] is not None
    assert rows["cut.jpg"]["error_type"] == "MediaTruncated"
    assert "noise.jpg" in (out / "report.html").read_text(encoding="utf-8")


def test_progress_goes_to_stderr(verified: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = verified
    assert "ended, 1 failed" in done.stderr
    assert "ended, 1 failed" not in done.stdout


def test_other_commands_find_what_verify_recorded(
    verified: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Another process, no Ray: only the ledger is left."""
    _, out = verified
    batches = json.loads(run("batches", "--storage", out / "ledger", "--json").stdout)["batches"]
    assert [(batch["name"], batch["status"]) for batch in batches] == [("two pictures", "partial")]
    shown = run("failures", batches[0]["batch_id"], "--storage", out / "ledger")
    assert (shown.returncode, "cut.jpg" in shown.stdout) == (0, True)


def test_retry_runs_the_failed_items_again(
    verified: tuple[subprocess.CompletedProcess[str], Path], folder: Path
) -> None:
    """Last in this file: it mends the broken picture."""
    _, out = verified
    batch = json.loads(run("batches", "--storage", out / "ledger", "--json").stdout)["batches"][0]["batch_id"]
    (folder / "cut.jpg").write_bytes((folder / "noise.jpg").read_bytes())
    done = run("retry", batch, "--storage", out / "ledger", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], [row["status"] for row in answer["rows"]]) == ("succeeded", ["succeeded"] * 2)
