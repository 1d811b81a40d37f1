import csv
import json
import uuid
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbatch.client.results import Results
from dfbatch.client.results_write import flatten, plain
from dfbatch.errors import InvalidInput, StorageRefused


@pytest.fixture
def results(make):
    rows = [make.row(0, uri="=cmd|' /C calc'!A0"), make.failed(1, message="-1+2\n\u202e")]
    return Results(make.table(rows, input=[{"case": "a", "raw": b"\xff"}, {"case": "@b", "raw": None}]))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".PARQUET"])
def test_columnar_files_keep_every_type(results, tmp_path, suffix):
    path = results.write(tmp_path / f"deep/er/out{suffix}")

    read = pq.read_table if suffix.lower() == ".parquet" else lambda p: pa.ipc.open_file(p).read_all()

    assert read(path).equals(results.to_arrow())
    assert path == str(tmp_path / f"deep/er/out{suffix}")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_json_keeps_the_nesting(results, tmp_path, suffix):
    text = Path(results.write(tmp_path / f"out{suffix}")).read_text("utf-8")
    rows = json.loads(text) if suffix == ".json" else [json.loads(line) for line in text.splitlines()]

    assert rows[0]["findings"][0]["detector"] == "copy_move"
    assert rows[0]["input"] == {"case": "a", "raw": "/w=="}
    assert rows[0]["finished_at"] == "2026-03-01T09:00:00+00:00"
    assert rows[1]["provenance"] is None


def test_csv_has_a_column_per_field_and_json_for_lists(results, tmp_path):
    with open(results.write(tmp_path / "out.csv"), encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)

    assert first["provenance.state"] == "none"
    assert first["input.case"] == "a"
    assert json.loads(first["findings"])[1]["reason"] == "This is no PDF."
    assert second["p_manipulated"] == ""


def test_no_cell_of_a_csv_is_a_formula(results, tmp_path):
    frame = pd.read_csv(results.write(tmp_path / "out.csv"))

    assert frame["uri"][0].startswith("'=cmd")
    assert frame["error_message"][1].startswith("'-1+2")
    assert frame["input.case"][1] == "'@b"
    assert frame["p_manipulated"][0] == 0.12


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.txt"])
def test_an_unknown_suffix_names_those_that_work(results, tmp_path, name):
    with pytest.raises(InvalidInput, match=r"\.parquet, \.csv"):
        results.write(tmp_path / name)


def test_a_file_appears_whole_or_not_at_all(results, tmp_path, monkeypatch):
    """A value that cannot be written leaves the old file as it was, and nothing beside it."""
    (tmp_path / "out.json").write_text("old")
    broken = Results(results.to_arrow().append_column("odd", pa.array([{}, {}], pa.struct([]))))

    with pytest.raises(pa.ArrowNotImplementedError):
        broken.write(tmp_path / "out.parquet")

    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_place_that_cannot_be_written_is_a_typed_error(results, tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageRefused, match="could not be written"):
        results.write(tmp_path / "file" / "out.csv")


def test_uris_are_written_too(results):
    uri = f"memory://{uuid.uuid4().hex}/out.jsonl"

    results.write(uri)

    assert fsspec.filesystem("memory").cat(uri).count(b"\n") == 2


def test_empty_results_are_valid_files(make, tmp_path):
    empty = Results(make.table([]))

    assert json.loads(Path(empty.write(tmp_path / "out.json")).read_text()) == []
    assert Path(empty.write(tmp_path / "out.jsonl")).read_text() == ""
    assert Path(empty.write(tmp_path / "out.csv")).read_text().count("\n") == 1


def test_flattening_reaches_every_depth():
    table = pa.table({"a": [{"b": {"c": 1}, "d": 2}]})

    assert flatten(table).to_pydict() == {"a.b.c": [1], "a.d": [2]}


def test_what_json_has_no_word_for_is_null():
    assert plain({"a": [float("nan"), float("inf"), 1.5]}) == {"a": [None, None, 1.5]}
