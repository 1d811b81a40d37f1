from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from PIL import Image

import dfbatch.errors
from dfbatch.authenticity.findings import ProvenanceState, Verdict
from dfbatch.client.paths import expand_argument
from dfbatch.errors import InvalidInput
from dfbatch.samples import SampleSet, make_samples

pytestmark = pytest.mark.integration

UNSIGNED = ("photo", "odd", "forged", "declared", "video", "audio", "broken")


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """The same seed once more, into a folder that is not empty."""
    folder = tmp_path_factory.mktemp("again")
    (folder / "photo-china.jpg").write_text("old")
    (folder / "mine.jpg").write_text("mine")
    return make_samples(str(folder))


@pytest.fixture(scope="module")
def other_seed(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    return make_samples(tmp_path_factory.mktemp("other") / "not" / "made", seed=8)


def test_every_expectation_has_its_file_and_every_file_its_expectation(made: SampleSet):
    entries = json.loads((made.folder / ".truth" / "expected.json").read_text())
    named = [entry["file"] for entry in entries]
    on_disk = {Path(uri).name for uri in expand_argument(str(made.folder))}
    assert len(named) == len(set(named)) >= 30
    assert set(named) == on_disk


def test_all_groups_and_all_kinds_of_media_are_there(made: SampleSet):
    assert {sample.group for sample in made} == {*UNSIGNED, "c2pa", "pdf"}
    assert {sample.kind for sample in made} == {"image", "video", "audio", "pdf"}


def test_expectations_use_the_words_of_the_results_table(made: SampleSet):
    for sample in made:
        if sample.error_type is not None:
            assert issubclass(getattr(dfbatch.errors, sample.error_type), dfbatch.errors.MediaError)
            continue
        assert {sample.verdict, sample.trusted_verdict} <= set(Verdict)
        assert {sample.provenance_state, sample.trusted_provenance_state} <= set(ProvenanceState)


def test_authentic_is_expected_of_nothing_without_a_trust_list(made: SampleSet):
    assert "authentic" not in {sample.verdict for sample in made}
    authentic = [sample for sample in made if sample.trusted_verdict == "authentic"]
    assert {s.trusted_provenance_state for s in authentic if s.kind != "pdf"} == {"trusted"}
    assert [s.file for s in authentic if s.kind == "pdf"] == ["pdf-signed-trusted.pdf"]


def test_only_what_can_be_proved_is_accused(made: SampleSet):
    accused = {sample.file for sample in made if sample.verdict == "manipulated"}
    assert accused == {"pdf-signed-altered.pdf", "pdf-signed-replaced.pdf"}


def test_each_sample_is_described_in_one_sentence(made: SampleSet):
    assert all(sample.what.endswith((".", ").")) and "\n" not in sample.what for sample in made)


def test_controls_are_samples_themselves(made: SampleSet):
    controls = {sample.control for sample in made if sample.control}
    assert controls <= {sample.file for sample in made}
    assert all(sample.control for sample in made if sample.group == "forged")


def test_the_same_seed_gives_the_same_bytes_where_nothing_is_signed(made: SampleSet, again: SampleSet):
    assert again.samples == made.samples
    unsigned = [sample for sample in made if sample.group in UNSIGNED]
    differing = [s.file for s in unsigned if again.path(s).read_bytes() != made.path(s).read_bytes()]
    assert differing == []


def test_signed_pictures_have_the_same_pixels_for_the_same_seed(made: SampleSet, again: SampleSet):
    for sample in made:
        if sample.group == "c2pa" and sample.kind == "image":
            with Image.open(made.path(sample)) as one, Image.open(again.path(sample)) as other:
                assert np.array_equal(np.asarray(one), np.asarray(other)), sample.file


def test_another_seed_gives_other_forgeries_of_the_same_photographs(made: SampleSet, other_seed: SampleSet):
    def differs(file: str) -> bool:
        return made.path(file).read_bytes() != other_seed.path(file).read_bytes()

    assert all(differs(sample.file) for sample in made if sample.group == "forged")
    assert not any(differs(sample.file) for sample in made if sample.group in ("photo", "odd"))


def test_the_trust_list_is_one_certificate_without_a_key_and_new_each_time(made: SampleSet, other_seed: SampleSet):
    pem = made.trust_list.read_bytes()
    assert made.trust_list == made.folder / ".truth" / "trust.pem"
    assert b"PRIVATE" not in pem
    (anchor,) = x509.load_pem_x509_certificates(pem)
    assert anchor.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert pem != other_seed.trust_list.read_bytes()


def test_files_of_ours_are_overwritten_and_others_left_alone(again: SampleSet):
    assert again.path("photo-china.jpg").stat().st_size > 100_000
    assert (again.folder / "mine.jpg").read_text() == "mine"


def test_missing_folders_are_made(other_seed: SampleSet):
    assert other_seed.folder.parent.name == "not"
    assert all(path.is_file() for path in other_seed.paths())


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="folder"):
        make_samples(tmp_path / "file")


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_a_seed_that_is_no_whole_number_is_refused_before_anything_is_written(tmp_path: Path, seed):
    with pytest.raises(InvalidInput, match="seed"):
        make_samples(tmp_path / "new", seed=seed)
    assert not (tmp_path / "new").exists()


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, dfbatch.samples; "
        "print(sorted({'numpy', 'PIL', 'av', 'c2pa', 'pyhanko', 'pikepdf', 'soundfile', 'cryptography', 'ray', "
        "'skimage', 'sklearn', 'dfbatch.authenticity'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
