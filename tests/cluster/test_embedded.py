"""The embedded client: private, quiet, and gone without a trace."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import dfbatch
from dfbatch.client.client import Client

Run = Callable[..., object]


def test_everything_listens_on_loopback_only(client: Client) -> None:
    client.map(lambda x: x, [1]).wait(200)
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {address for process in family for address in _listens_at(process)}
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_verifier_that_returns_in_bulk_and_one_that_returns_item_by_item_agree(client: Client) -> None:
    class Bulk:
        def verify_batch(self, table):  # type: ignore[no-untyped-def]
            import pyarrow.compute as pc

            return pc.multiply(table["item"], 2)

    bulk = client.map(Bulk, range(5000)).results().values()
    single = client.map(lambda x: 2 * x, range(5000)).results().values()
    assert bulk == single == [2 * k for k in range(5000)]


def test_connecting_twice_gives_the_same_client_and_other_arguments_are_named(client: Client) -> None:
    assert dfbatch.connect(storage_path=client.storage_path, workers=(0, 2)) is client
    with pytest.raises(dfbatch.DifferentConnection, match="storage_path"):
        dfbatch.connect(storage_path="/tmp/another", workers=(0, 2))


def test_a_process_that_wrote_and_read_a_ledger_ends_well_and_leaves_nothing(
    python: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, no word on stdout or stderr but its own, no process, no folder."""
    folder = tempfile.mkdtemp(prefix="dft-", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    done = python(
        "import sys, dfbatch\n"
        "client = dfbatch.connect(storage_path=sys.argv[1], workers=(0, 1))\n"
        "import os; os.environ['DFBATCH_PROGRESS'] = 'off'\n"
        "print(client.map(str.upper, ['a', 'b']).results().values())\n",
        tmp_path / "ledger",
    )
    assert (done.returncode, done.stdout) == (0, "['A', 'B']\n"), done.stderr
    assert "Traceback" not in done.stderr
    marked = [p for p in psutil.process_iter() if str(tmp_path) in " ".join(_command(p))]
    assert marked == []
    assert os.listdir(folder) == []
    os.rmdir(folder)


def test_polars_reads_the_ledger_without_dfbatch(client: Client, python: Callable[..., object]) -> None:
    batch = client.map(lambda x: {"square": x * x}, range(100))
    batch.wait(60)
    done = python(
        "import sys, polars as pl\n"
        "root, batch = sys.argv[1:]\n"
        "rows = pl.scan_delta(root + '/results').filter(pl.col('batch_id') == batch).collect()\n"
        "outputs = pl.scan_delta(root + '/' + rows['outputs'][0]).filter(pl.col('batch_id') == batch).collect()\n"
        "both = rows.join(outputs, on=['batch_id', 'job_index', 'generation', 'commit_id'])\n"
        "assert 'dfbatch' not in sys.modules\n"
        "print(len(both), both['output'].struct.field('square').sum())\n",
        client.storage_path,
        batch.id,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["100", str(sum(k * k for k in range(100)))]), done.stderr


def test_an_address_where_nobody_listens_is_said_within_30_s(python: Callable[..., object], tmp_path: Path) -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        done = python(
            "import sys, time, dfbatch, dfbatch.actors.cluster\n"
            "begin = time.monotonic()\n"
            "try:\n    dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])\n"
            "except dfbatch.ClusterUnreachable as error:\n    print(error)\n"
            "print(time.monotonic() - begin)\n",
            f"127.0.0.1:{port}",
            tmp_path / "ledger",
        )
    assert done.returncode == 0, done.stderr
    assert f"127.0.0.1:{port}" in done.stdout
    assert "leave the address out" in done.stdout
    assert float(done.stdout.split()[-1]) < 30


def test_storage_that_cannot_be_written_is_said_before_anything_starts(
    python: Callable[..., object], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = python(
        "import sys, dfbatch\n"
        "try:\n    dfbatch.connect(storage_path=sys.argv[1])\n"
        "except dfbatch.StorageUnusable as error:\n    print(error)\n"
        "assert 'ray' not in sys.modules\n",
        blocked / "ledger",
    )
    assert done.returncode == 0, done.stderr
    assert "file" in done.stdout


def _listens_at(process: psutil.Process) -> list[str]:
    try:
        found = process.net_connections("inet")
    except psutil.Error:  # it has ended meanwhile
        return []
    return [connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.pid != os.getpid() else []
    except psutil.Error:
        return []
