"""How outcomes are said in a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.cli.wording import (
    common_parent,
    file_words,
    outcome_words,
    reason_words,
    size_words,
    state_text,
    tally_words,
    type_words,
)
from dfbatch.core.states import BatchState


@pytest.mark.parametrize(
    ("uris", "parent"),
    [
        ([], ""),
        (["/a/b/c.jpg"], "/a/b/"),
        (["/a/b/c.jpg", "/a/b/cd.jpg"], "/a/b/"),
        (["/a/bc/x.jpg", "/a/bd/x.jpg"], "/a/"),
        (["/a/x.jpg", "s3://b/x.jpg"], ""),
        (["s3://b/c/x.jpg", "s3://b/d/y.jpg"], "s3://b/"),
        (["x.jpg", "xy.jpg"], ""),
        (["/a/b/c.jpg", "file:///a/b/caf%E9.jpg"], "/a/b/"),  # a name that is no valid text
    ],
)
def test_what_all_files_share_is_not_repeated(uris: list[str], parent: str) -> None:
    assert common_parent(uris) == parent


@given(st.lists(st.text("ab/", min_size=1), min_size=1))
def test_the_common_parent_is_a_folder_of_all(uris: list[str]) -> None:
    parent = common_parent(uris)
    assert all(uri.startswith(parent) for uri in uris)
    assert parent == "" or parent.endswith("/")


def test_a_long_name_keeps_its_end_where_names_differ() -> None:
    row = {"uri": "/cases/2026/a-very-long-name-of-a-picture-0041.jpg", "job_id": "k3f2m9qx-3"}
    assert file_words(row, "/cases/", 20) == "…-a-picture-0041.jpg"


def test_an_item_without_a_uri_is_called_by_its_job_id() -> None:
    assert file_words({"uri": None, "job_id": "k3f2m9qx-3"}, "", 24) == "k3f2m9qx-3"


@given(st.text())
def test_hostile_names_stay_on_one_line(name: str) -> None:
    assert file_words({"uri": f"/{name}", "job_id": "x"}, "/", 24).isprintable()
    assert reason_words({"error_type": "MediaUnreadable", "error_message": name}).isprintable()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"status": "succeeded", "verdict": "ai_generated"}, "◆ AI generated"),
        ({"status": "failed", "verdict": None}, "✕ failed"),
        ({"status": "succeeded", "verdict": None}, "✓ succeeded"),
    ],
)
def test_an_outcome_has_a_sign_and_a_word(row: dict[str, str | None], words: str) -> None:
    assert outcome_words(row)[0] == words


@pytest.mark.parametrize("state", list(BatchState))
def test_every_batch_state_can_be_shown(state: BatchState) -> None:
    assert state_text(state.value)[0].endswith(f" {state.value}")


def test_the_error_comes_before_the_reasons() -> None:
    assert reason_words({"error_type": "ItemTimeout", "error_message": None}) == "ItemTimeout"
    assert reason_words({"error_type": None, "reasons": ["first", "second"]}) == "first"
    assert reason_words({"reasons": None}) == ""


def test_what_needs_attention_is_told_first() -> None:
    assert tally_words({"authentic": 9, "failed": 2, "manipulated": 1}) == "2 failed, 1 manipulated, 9 authentic"


@pytest.mark.parametrize(("size", "words"), [(0, "0 B"), (812, "812 B"), (4_100_000, "4.1 MB"), (2.5e15, "2500.0 TB")])
def test_sizes_have_their_unit(size: float, words: str) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(("media_type", "words"), [("image/jpeg", "jpeg"), ("audio/x-wav", "wav"), (None, "-")])
def test_media_types_are_short(media_type: str | None, words: str) -> None:
    assert type_words(media_type) == words
