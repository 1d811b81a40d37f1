"""Commands that read a ledger: no Ray, no manager, 80 columns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
BATCH = "k3f2m9qx"


def widest(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


class TestBatches:
    def test_batches_are_listed_newest_first_with_their_state_in_words(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        answer = dfbatch_command("batches", "--storage", recorded_ledger)
        assert answer.code == 0
        assert widest(answer.out) <= 80
        assert answer.out.index("k3f2n000") < answer.out.index(BATCH)
        for words in ("Claims of May", "! partial", "▶ running", "open stream", "count_words"):
            assert words in answer.out

    def test_an_empty_ledger_says_how_to_begin(self, dfbatch_command: Command, tmp_path: Path) -> None:
        answer = dfbatch_command("batches", "--storage", tmp_path / "none")
        assert (answer.code, "dfbatch verify PATH" in answer.out) == (0, True)
        assert not (tmp_path / "none").exists()

    def test_json_holds_every_batch(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        found = dfbatch_command("batches", "--storage", recorded_ledger, "--json").json
        assert [(b["batch_id"], b["status"]) for b in found["batches"]] == [("k3f2n000", "running"), (BATCH, "partial")]
        assert found["batches"][1]["submitted_at"] == "2026-05-04T12:30:00+00:00"


class TestResults:
    def test_verdicts_are_told_by_sign_and_word_within_80_columns(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        answer = dfbatch_command("results", BATCH, "--storage", recorded_ledger)
        assert answer.code == 0
        assert widest(answer.out) <= 80
        for words in ("✓ authentic", "○ no", "▲ manipulated", "◆ AI generated", "? inconclusive", "✕ failed"):
            assert words in answer.out
        assert "8 items: 2 failed, 1 manipulated, 1 AI generated" in answer.out

    def test_a_file_name_is_not_taken_for_markup(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        assert "[bold]cut.jpg" in dfbatch_command("results", BATCH, "--storage", recorded_ledger).out

    def test_where_not_all_rows_fit_failures_and_alarms_are_kept(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        out = dfbatch_command("results", BATCH, "--storage", recorded_ledger, "--limit", "5").out
        assert "photo-01.jpg" not in out
        assert "empty.pdf" not in out
        assert "gone.jpg" in out
        assert "and 3 more" in out

    def test_a_job_id_gives_its_row_alone(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        rows = dfbatch_command("results", f"{BATCH}-7", "--storage", recorded_ledger, "--json").json
        assert [row["error_type"] for row in rows] == ["MediaMissing"]

    def test_json_is_strict_and_complete(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        answer = dfbatch_command("results", BATCH, "--storage", recorded_ledger, "--json")
        rows = json.loads(answer.out, parse_constant=pytest.fail)
        assert len(rows) == 8
        assert rows[4]["p_manipulated"] is None
        assert rows[0]["finished_at"] == "2026-05-04T12:30:00+00:00"

    def test_an_id_of_nothing_is_a_usage_error_in_one_sentence(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        answer = dfbatch_command("results", "k3f20000", "--storage", recorded_ledger)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("dfbatch: There is no batch k3f20000")

    @pytest.mark.parametrize("text", ["../../etc", "k3f2m9qx-", "", "k3f2m9qx-1x"])
    def test_text_that_is_no_id_is_a_usage_error(
        self, dfbatch_command: Command, recorded_ledger: Path, text: str
    ) -> None:
        answer = dfbatch_command("results", text, "--storage", recorded_ledger)
        assert (answer.code, answer.out) == (2, "")
        assert "k3f2m9qx-17" in answer.err


class TestFailures:
    def test_failures_are_shown_with_their_sentence_and_counted(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        answer = dfbatch_command("failures", BATCH, "--storage", recorded_ledger)
        assert answer.code == 0
        assert widest(answer.out) <= 80
        assert "k3f2m9qx-7" in answer.out
        assert "photo-01" not in answer.out
        assert "1 x MediaTruncated, 1 x MediaMissing" in answer.out

    def test_a_job_that_did_not_fail_has_no_failures(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        assert "Nothing failed" in dfbatch_command("failures", f"{BATCH}-0", "--storage", recorded_ledger).out


class TestLedger:
    def test_files_of_a_batch_are_there_to_be_read_by_others(
        self, dfbatch_command: Command, recorded_ledger: Path
    ) -> None:
        found = dfbatch_command("ledger", "files", BATCH, "--storage", recorded_ledger, "--json").json
        assert {file["table"] for file in found["files"]} == {"batches", "results", "events"}
        assert all((recorded_ledger / file["path"]).is_file() for file in found["files"])

    def test_files_are_listed_as_text_too(self, dfbatch_command: Command, recorded_ledger: Path) -> None:
        out = dfbatch_command("ledger", "files", BATCH, "--storage", recorded_ledger).out
        assert "1 of 2 rows" in out


def test_reading_loads_neither_ray_nor_a_detector(recorded_ledger: Path) -> None:
    """A results table is there before Ray could have been imported."""
    code = (
        "import sys; from dfbatch.cli.app import app\n"
        f"try: app(['results', '{BATCH}', '--storage', {str(recorded_ledger)!r}])\n"
        "except SystemExit: pass\n"
        "print(sorted({'ray', 'av', 'c2pa', 'deltalake'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=110)
    assert run.stdout.splitlines()[-1] == "[]"
