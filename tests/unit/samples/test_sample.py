from __future__ import annotations

import dataclasses
import pickle

import pytest

from dfbatch.errors import InvalidInput
from dfbatch.samples import Sample, SampleSet, load_samples


def test_a_sample_that_must_fail_expects_no_verdict():
    sample = Sample("broken-empty.jpg", "image", "Nothing.", error_type="MediaEmpty")
    assert (sample.verdict, sample.provenance_state) == (None, None)
    assert (sample.trusted_verdict, sample.trusted_provenance_state) == (None, None)


def test_a_valid_credential_becomes_trusted_with_the_trust_list_and_nothing_else_changes():
    valid = Sample("c2pa-x.jpg", "image", "Signed.", "ai_generated", provenance_state="valid")
    invalid = Sample("c2pa-y.jpg", "image", "Broken.", provenance_state="invalid")
    assert (valid.trusted_verdict, valid.trusted_provenance_state) == ("ai_generated", "trusted")
    assert (invalid.trusted_verdict, invalid.trusted_provenance_state) == ("inconclusive", "invalid")


def test_the_group_is_the_first_word_of_the_name():
    assert Sample("forged-copy-move-x.jpg", "image", "Forged.").group == "forged"


def test_samples_and_sets_are_frozen_and_pickle(made: SampleSet):
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.samples[0].verdict = "authentic"


def test_a_set_finds_samples_and_paths_by_file_name(made: SampleSet):
    assert made["c2pa-capture.jpg"].trusted_verdict == "authentic"
    assert made.path("c2pa-capture.jpg") == made.folder / "c2pa-capture.jpg"
    assert [path.name for path in made.paths()] == [sample.file for sample in made]
    with pytest.raises(KeyError):
        made["no-such.jpg"]


def test_what_was_written_can_be_loaded_again(made: SampleSet):
    assert load_samples(made.folder) == made


@pytest.mark.parametrize(
    "text",
    [
        None,  # no expected.json at all
        "not json",
        '{"file": "x"}',  # no list
        '[{"file": "x", "unknown": 1}]',
        "[1]",
    ],
)
def test_a_folder_without_usable_expectations_is_refused_with_the_way_out(tmp_path, text):
    if text is not None:
        (tmp_path / ".truth").mkdir()
        (tmp_path / ".truth" / "expected.json").write_text(text)
    with pytest.raises(InvalidInput, match="make_samples"):
        load_samples(tmp_path)
