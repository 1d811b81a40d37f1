"""``dfbatch metrics``: the samples of a ledger, without Ray and without its manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dfbatch.cli.metrics import seconds_of
from dfbatch.clock import SystemClock
from dfbatch.errors import InvalidInput
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.schemas import METRICS
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

Command = Callable[..., Any]


def sample(minutes_ago: float, queue: str, **columns: Any) -> dict[str, Any]:
    zeros = {field.name: 0 for field in METRICS.arrow if pa.types.is_integer(field.type)}
    rates = {"submitted_per_s": 0.0, "finished_per_s": 0.0, "failed_per_s": 0.0}
    return {
        **zeros,
        **rates,
        "at": datetime.now(UTC) - timedelta(minutes=minutes_ago),
        "queue": queue,
        "epoch": 1,
        **columns,
    }


@pytest.fixture(scope="module")
def sampled_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of two queues: of three hours ago, and of the last minutes."""
    root = tmp_path_factory.mktemp("sampled") / "ledger"
    writer = LedgerWriter.open(open_storage(root), clock=SystemClock())
    writer.take_over(ManagerInfo("dfbatch", 0, "local", 1, "host", "in_process", "manager", time.time(), "0.1.0"))
    rows = [
        sample(180, "verification", queued=9_999_999, running=8_192, finished_per_s=412_345.6, run_p95_s=0.00012),
        sample(2, "verification", succeeded=10, finished_per_s=2.0, run_p95_s=1.5, wait_p95_s=4_000.0, workers_idle=2),
        sample(1, "[bold]mine", queued=3, breakers_open=1, open_breakers=["scorer"]),
    ]
    writer.commit(CommitGroup({"metrics": pa.Table.from_pylist(rows, schema=METRICS.arrow)}))
    return root


def test_samples_are_a_table_of_80_columns_the_newest_last(dfbatch_command: Command, sampled_ledger: Path) -> None:
    answer = dfbatch_command("metrics", "--storage", sampled_ledger)
    assert answer.code == 0
    assert max(len(line.rstrip()) for line in answer.out.splitlines()) <= 80
    for words in ("10,000k", "8,192", "412k", "0.1 ms", "1.5 s", "67 min", "[bold]mine"):
        assert words in answer.out
    assert answer.out.index("412k") < answer.out.index("[bold]mine")


def test_samples_can_be_chosen_by_time_queue_and_number(dfbatch_command: Command, sampled_ledger: Path) -> None:
    def found(*options: str) -> list[str]:
        rows = dfbatch_command("metrics", "--storage", sampled_ledger, "--json", *options).json["metrics"]
        return [row["queue"] for row in rows]

    assert found() == ["verification", "verification", "[bold]mine"]
    assert found("--since", "1h") == ["verification", "[bold]mine"]
    assert found("--queue", "verification", "--since", "5m") == ["verification"]
    assert found("--limit", "1") == ["[bold]mine"]
    assert found("--queue", "none") == []


def test_json_holds_every_column(dfbatch_command: Command, sampled_ledger: Path) -> None:
    found = dfbatch_command("metrics", "--storage", sampled_ledger, "--json").json
    assert found["storage"] == str(sampled_ledger)
    assert set(found["metrics"][-1]) == set(METRICS.arrow.names)
    assert found["metrics"][-1]["open_breakers"] == ["scorer"]


def test_a_ledger_without_samples_says_when_there_will_be_some(dfbatch_command: Command, tmp_path: Path) -> None:
    answer = dfbatch_command("metrics", "--storage", tmp_path / "none")
    assert (answer.code, "while work is done" in answer.out) == (0, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["soon", "1x", "h", "", "-5m", "nan", "inf"])
def test_what_is_no_time_is_wrong_usage(dfbatch_command: Command, sampled_ledger: Path, text: str) -> None:
    answer = dfbatch_command("metrics", "--storage", sampled_ledger, "--since", text)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "Give" in answer.err


def test_times_have_units() -> None:
    assert [seconds_of(text) for text in ("90", "90s", "1.5m", "2h", "1d")] == [90.0, 90.0, 90.0, 7_200.0, 86_400.0]
    with pytest.raises(InvalidInput, match="Give 90s, 15m, 2h or 1d"):
        seconds_of("tomorrow")
