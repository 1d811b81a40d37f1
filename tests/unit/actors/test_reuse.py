"""``reuse="content"``: a verifier runs once for each content, and every job still has a full row."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from dfbatch.actors import reuse_calls
from dfbatch.actors.reuse_followers import find_followers, joined
from dfbatch.authenticity.authenticator import ContentAuthenticator
from dfbatch.client import sources
from dfbatch.errors import InvalidInput
from dfbatch.testing import InProcess

WAIT_S = 60.0
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("brisk")]
_seeds = itertools.count()


class Doubling:
    """Writes down each item it is called with; ``fail_on`` names items that fail at their first try."""

    def __init__(self, notes, fail_on=(), factor=2, model=None):
        self.notes = notes
        self.fail_on = fail_on
        self.factor = factor
        self.model_fingerprint = model

    def __call__(self, item):
        with open(self.notes, "a") as file:
            file.write(json.dumps(item) + "\n")
        if item in self.fail_on:
            raise ValueError(f"no {item}")
        return {"doubled": item * self.factor}


class DoublingTable:
    def __init__(self, notes):
        self.notes = notes

    def verify_batch(self, table):
        with open(self.notes, "a") as file:
            file.writelines(f"{item}\n" for item in table.column("item").to_pylist())
        return pa.table({"doubled": pc.multiply(table.column("item"), 2)})


class Notes:
    """What verifiers wrote down since it was last asked."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def take(self) -> list[Any]:
        if not os.path.exists(self.path):
            return []
        lines = Path(self.path).read_text().splitlines()
        os.remove(self.path)
        return sorted(json.loads(line) for line in lines)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


@pytest.fixture(autouse=True)
def submits_are_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submit that the index keeps waiting for seconds goes on without it, and verifies anew."""
    monkeypatch.setattr(reuse_calls, "PATIENCE_S", 60.0)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One for all tests: their verifiers write to different notes, and their pictures differ."""
    with InProcess(tmp_path_factory.mktemp("reuse") / "ledger") as client:
        yield client


def run(client: Any, verifier: Any, items: Any, notes: Notes, reuse: str = "content", **init: Any) -> dict[str, list]:
    batch = client.map(verifier, items, {"notes": notes.path, **init}, reuse=reuse, fail_fast=False)
    table = batch.results(timeout=WAIT_S).to_arrow()
    found = {name: table.column(name).to_pylist() for name in ("status", "reused_from", "attempts", "error_type")}
    output = table.column("output").to_pylist() if "output" in table.column_names else [None] * len(table)
    return {**found, "id": batch.id, "doubled": [row and row["doubled"] for row in output]}


# --------------------------------------------------------------------------------- within a submit


def test_equal_items_of_a_submit_run_once(client: Any, notes: Notes) -> None:
    items = [1, 2, 1, 3, 2, 1] * 50
    rows = run(client, Doubling, items, notes)
    assert notes.take() == [1, 2, 3]
    assert rows["status"] == ["succeeded"] * len(items)
    assert rows["doubled"] == [2 * item for item in items]
    first = [f"{rows['id']}-{items.index(item)}" for item in items]
    own = [f"{rows['id']}-{k}" for k in range(len(items))]
    assert rows["reused_from"] == [None if one == mine else one for one, mine in zip(first, own, strict=True)]


def test_without_reuse_every_item_runs(client: Any, notes: Notes) -> None:
    rows = run(client, Doubling, [1, 1], notes, reuse="never")
    assert notes.take() == [1, 1]
    assert rows["reused_from"] == [None, None]


def test_failures_are_not_passed_on(client: Any, notes: Notes) -> None:
    """Each follower of a leader that failed runs on its own."""
    rows = run(client, Doubling, [1, 2, 1, 1, 2], notes, fail_on=(1,))
    assert notes.take() == [1, 1, 1, 2]
    assert rows["status"] == ["failed", "succeeded", "failed", "failed", "succeeded"]
    assert rows["reused_from"] == [None, None, None, None, f"{rows['id']}-1"]
    again = run(client, Doubling, [1], notes, fail_on=(1,))
    assert notes.take() == [1]
    assert again["status"] == ["failed"]


def test_a_leader_cancelled_by_its_handle_leaves_its_followers_to_run(client: Any, make_gate: Any) -> None:
    gate = make_gate(is_open=True)
    client.queue("later").pause()
    batch = client.map(gate, ["same", "same", "same"], reuse="content", queue="later")
    batch[0].cancel()
    client.queue("later").resume()
    rows = batch.results(timeout=WAIT_S).to_arrow()
    assert rows.column("status").to_pylist() == ["cancelled", "succeeded", "succeeded"]
    assert rows.column("reused_from").to_pylist() == [None] * 3
    assert len(gate.seen) == 2


def test_a_cancelled_batch_ends_with_its_followers(client: Any, gate: Any) -> None:
    batch = client.map(gate, ["same"] * 4, reuse="content")
    gate.await_items()
    batch.cancel()
    gate.open()
    counts = batch.wait(WAIT_S).counts()
    assert sum(counts.values()) == 4
    assert gate.seen == ["same"]


def test_tables_and_vectorised_verifiers_reuse_too(client: Any, notes: Notes) -> None:
    rows = run(client, DoublingTable, [5, 6, 5], notes)
    assert (notes.take(), rows["doubled"]) == ([5, 6], [10, 12, 10])
    rows = run(client, DoublingTable, [6, 7, 5], notes)
    assert (notes.take(), rows["doubled"]) == ([7], [12, 14, 10])
    assert [origin is None for origin in rows["reused_from"]] == [False, True, False]


def test_slices_of_a_stream_find_what_was_verified_before(
    client: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SliceReader", functools.partial(sources.SliceReader, slice_s=600.0))  # one slice
    run(client, Doubling, [1, 2], notes)
    notes.take()
    rows = run(client, Doubling, iter([3, 1, 3, 2, 3]), notes)
    assert notes.take() == [3]
    assert rows["doubled"] == [6, 2, 6, 4, 6]


# --------------------------------------------------------------------------------- across batches


def test_a_later_batch_takes_over_what_is_durable(client: Any, notes: Notes) -> None:
    first = run(client, Doubling, [1, 2, 3], notes)
    notes.take()
    second = run(client, Doubling, [3, 4, 1], notes)
    assert notes.take() == [4]
    assert second["reused_from"] == [f"{first['id']}-2", None, f"{first['id']}-0"]
    third = run(client, Doubling, [3], notes)
    assert third["reused_from"] == [f"{first['id']}-2"], "the job that ran, not the copy"
    assert third["doubled"] == [6]


def test_another_verifier_argument_or_model_verifies_anew(client: Any, notes: Notes) -> None:
    run(client, Doubling, [1], notes)
    for init in ({"factor": 3}, {"model": "b"}):
        notes.take()
        rows = run(client, Doubling, [1], notes, **init)
        assert notes.take() == [1]
        assert rows["doubled"] == [init.get("factor", 2)]


def test_a_closure_over_another_value_is_another_verifier(client: Any) -> None:
    def times(factor: int) -> Any:
        return lambda item: item * factor

    found = [client.map(times(n), [5], reuse="content").results(timeout=WAIT_S).values() for n in (2, 3, 2)]
    assert found == [[10], [15], [10]]


def test_it_outlives_the_manager_and_a_lost_index(tmp_path: Path, notes: Notes) -> None:
    with InProcess(tmp_path / "ledger") as client:
        first = run(client, Doubling, [1, 2], notes)
    shutil.rmtree(tmp_path / "ledger" / "reuse")
    notes.take()
    with InProcess(tmp_path / "ledger") as client:
        rows = run(client, Doubling, [2, 1], notes)
    assert notes.take() == []
    assert rows["reused_from"] == [f"{first['id']}-1", f"{first['id']}-0"]


def test_a_damaged_index_costs_only_the_reuse(client: Any, notes: Notes) -> None:
    run(client, Doubling, [1, 2], notes)
    for path in (Path(client.storage_path) / "reuse").iterdir():
        path.write_bytes(b"\0" * 200)
    notes.take()
    rows = run(client, Doubling, [1, 2], notes)
    assert rows["doubled"] == [2, 4]
    assert notes.take() == [], "a damaged file is rebuilt at the next submit"


def test_equal_items_wait_for_each_other_again_after_a_restart(tmp_path: Path, make_gate: Any) -> None:
    gate = make_gate(is_open=True)
    with InProcess(tmp_path / "ledger", session="s") as client:
        client.queue("later").pause()
        batch_id = client.map(gate, ["same"] * 5 + ["other"], reuse="content", queue="later").id
    with InProcess(tmp_path / "ledger", session="s") as client:
        client.queue("later").resume()
        rows = client.attach(batch_id).results(timeout=WAIT_S).to_arrow()
    assert sorted(gate.seen) == ["other", "same"]
    assert rows.column("reused_from").to_pylist() == [None, *[f"{batch_id}-0"] * 4, None]


# --------------------------------------------------------------------------------- media


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The items that the authenticator was asked about."""
    seen: list[Any] = []
    ask = ContentAuthenticator.__call__

    def noted(self: Any, item: Any, ctx: Any = None) -> Any:
        seen.append(item)
        return ask(self, item, ctx)

    monkeypatch.setattr(ContentAuthenticator, "__call__", noted)
    return seen


def picture(path: Path) -> str:
    """Another picture each time."""
    Image.fromarray(np.random.default_rng(next(_seeds)).integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(path)
    return str(path)


def verify(client: Any, source: Any, **options: Any) -> list[dict[str, Any]]:
    rows = client.verify(source, **{"reuse": "content", **options}).results(timeout=WAIT_S).to_arrow().to_pylist()
    return sorted(rows, key=lambda row: row["job_index"])


def test_a_uri_given_twice_is_read_once_and_has_two_full_rows(client: Any, tmp_path: Path, verified: list) -> None:
    photo, other = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png")
    one, two, three = verify(client, [photo, other, photo])
    assert len(verified) == 2
    assert (one["reused_from"], two["reused_from"], three["reused_from"]) == (None, None, one["job_id"])
    assert one["uri"] == three["uri"] != two["uri"]
    for name in ("verdict", "findings", "reasons", "sha256", "size", "media_type", "provenance", "coverage"):
        assert one[name] == three[name], name


def test_copies_under_other_names_are_found_by_their_bytes(tmp_path: Path, verified: list) -> None:
    photo = picture(tmp_path / "a.jpg")
    copies = [shutil.copy(photo, tmp_path / name) for name in ("b.jpg", "c.jpeg", "d")]
    with InProcess(tmp_path / "ledger", workers=1) as client:
        first, *others = verify(client, [photo, *map(str, copies)])
        assert len(verified) == 1
        assert [row["reused_from"] for row in others] == [first["job_id"]] * 3
        assert [os.path.basename(row["uri"]) for row in others] == ["b.jpg", "c.jpeg", "d"]
        assert all(row["findings"] == first["findings"] for row in others)
        by_value = verify(client, [Path(photo).read_bytes()])
        assert len(verified) == 1
        assert by_value[0]["reused_from"] == first["job_id"]


def test_what_is_said_about_a_name_is_said_about_that_name_only(client: Any, tmp_path: Path) -> None:
    photo = picture(tmp_path / "a.jpg")
    wrong = shutil.copy(photo, tmp_path / "wrong.png")
    remark = "The file is named like image/png, but it is image/jpeg."
    (row,) = verify(client, [photo])
    assert remark not in row["reasons"]
    (named_wrongly,) = verify(client, [str(wrong)])
    assert named_wrongly["reused_from"] == row["job_id"]
    assert named_wrongly["reasons"] == [*row["reasons"], remark]
    (again,) = verify(client, [str(shutil.copy(photo, tmp_path / "again.jpg"))])
    assert again["reasons"] == row["reasons"]


def test_a_file_that_changed_is_verified_anew(client: Any, tmp_path: Path, verified: list) -> None:
    path = tmp_path / "a.png"
    before = verify(client, [picture(path)])[0]
    after = verify(client, [picture(path)])[0]
    assert len(verified) == 2
    assert after["reused_from"] is None
    assert after["sha256"] != before["sha256"]


def test_rows_of_batches_without_reuse_are_reused(client: Any, tmp_path: Path, verified: list) -> None:
    photo = picture(tmp_path / "a.jpg")
    (before,) = verify(client, [photo], reuse="never")
    (after,) = verify(client, [photo])
    assert (len(verified), after["reused_from"]) == (1, before["job_id"])


def test_another_profile_verifies_anew(client: Any, tmp_path: Path, verified: list) -> None:
    photo = picture(tmp_path / "a.jpg")
    verify(client, [photo])
    assert verify(client, [photo], profile="full")[0]["reused_from"] is None
    assert len(verified) == 2


def test_a_trust_list_with_other_certificates_is_another_verifier(
    client: Any, tmp_path: Path, verified: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is the same, what is trusted is not."""
    photo = picture(tmp_path / "a.jpg")
    says = iter(["before", "before", "after"])
    monkeypatch.setattr(ContentAuthenticator, "fingerprint", property(lambda self: next(says)))
    origins = [verify(client, [photo])[0]["reused_from"] for _ in range(3)]
    assert [origin is None for origin in origins] == [True, False, True]


def test_unreadable_media_fail_each_on_their_own(client: Any, tmp_path: Path, verified: list) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    rows = verify(client, [str(bad), str(bad), str(tmp_path / "missing.jpg")])
    assert [row["error_type"] for row in rows] == ["MediaNotWhatItsNameSays"] * 2 + ["MediaMissing"]
    assert [row["reused_from"] for row in rows] == [None] * 3
    assert verify(client, [str(bad)])[0]["status"] == "failed"


# --------------------------------------------------------------------------------- parts


def test_another_word_than_content_or_never_is_refused(client: Any) -> None:
    for word in ("always", True, None, 3):
        with pytest.raises(InvalidInput, match="never, content"):
            client.map(len, ["a"], reuse=word)


def test_equal_bytes_with_names_of_other_types_do_not_follow_each_other() -> None:
    jobs = pa.table({"uri": ["a.jpg", "b.jpeg", "c.png", "x.png", None], "blob": ["s", "s", "s", None, None]})
    found = find_followers("verify", np.arange(10, 15), jobs, None)
    assert found is not None
    assert (found.leaders.tolist(), found.followers.tolist(), found.uris.to_pylist()) == ([10], [11], ["b.jpeg"])


def test_followers_of_slices_are_joined_in_order() -> None:
    items = pa.table({"item": [1, 1, 2, 2]})
    one = find_followers("map", np.arange(4), None, items)
    two = find_followers("map", np.arange(4, 8), None, items)
    both = joined(joined(None, one), two)
    assert both is not None
    which, followers, uris = both.of(np.array([0, 3, 6]))
    assert (which.tolist(), followers.tolist(), uris) == ([0, 2], [1, 7], None)
    assert joined(one, None) is one
