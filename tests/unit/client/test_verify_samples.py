"""The sample folder, verified end to end by a real manager and real workers: what is promised is what comes out."""

import hashlib
import json

import pytest

from dfbatch.core.states import BatchState
from dfbatch.errors import InvalidInput, JobFailed, MediaError
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def samples(made):
    return made


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


@pytest.fixture(scope="module")
def verified(client, samples):
    """The whole folder as a user would give it, without a trust list."""
    return client.verify(samples.paths(), name="samples").wait(WAIT_S)


@pytest.fixture(scope="module")
def trusted(client, samples):
    return client.verify(samples.paths(), trust_list=samples.trust_list).wait(WAIT_S)


def judgements(samples, batch):
    """(verdict, provenance state, error type) by file name."""
    found = {}
    for row in batch.results():
        name = row["uri"].rpartition("/")[2]
        assert name not in found
        found[name] = (row["verdict"], (row["provenance"] or {}).get("state"), row["error_type"])
    return found


def expected(samples, trusted=False):
    """The same, as ``expected.json`` has it."""
    entries = json.loads((samples.folder / ".truth" / "expected.json").read_text())
    prefix = "trusted_" if trusted else ""
    return {e["file"]: (e[f"{prefix}verdict"], e[f"{prefix}provenance_state"], e["error_type"]) for e in entries}


def test_every_sample_gets_its_verdict_its_provenance_and_its_error(samples, verified):
    assert judgements(samples, verified) == expected(samples)


def test_a_trust_list_changes_exactly_what_is_said_of_it(samples, trusted):
    assert judgements(samples, trusted) == expected(samples, trusted=True)


def test_the_samples_are_worth_the_test(samples):
    """Every verdict, both kinds of trust, and many ways to be broken are among them."""
    without, with_list = expected(samples), expected(samples, trusted=True)
    verdicts = {verdict for verdict, _, _ in [*without.values(), *with_list.values()]}
    assert {"authentic", "manipulated", "ai_generated", "inconclusive"} <= verdicts
    assert {"valid", "invalid", "none"} <= {state for _, state, _ in without.values()}
    assert "trusted" in {state for _, state, _ in with_list.values()}
    assert len({error for _, _, error in without.values()}) > 5


def test_the_batch_counts_what_its_rows_say(samples, verified):
    table = expected(samples)
    failed = sum(error is not None for _, _, error in table.values())
    assert verified.status is BatchState.PARTIAL
    assert verified.counts() == {"succeeded": len(table) - failed, "failed": failed}
    snapshot = verified.progress()
    assert sum(snapshot.verdicts.values()) == len(table) - failed
    assert sum(snapshot.errors.values()) == failed
    assert snapshot.verdicts == verified.results().counts("verdict")
    assert snapshot.errors == verified.results().counts("error_type")


def test_each_row_stands_on_evidence(samples, verified):
    results = verified.results()
    for row in results.filter(status="succeeded"):
        data = samples.path(row["uri"].rpartition("/")[2]).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["size"] == len(data)
        assert row["media_type"]
        assert row["reasons"]
        assert any(finding["detector"] for finding in row["findings"])
        assert 0 <= row["coverage"] <= 1
        assert row["duration_s"] > 0
        assert row["verifier_fingerprint"]


def test_a_broken_file_fails_at_once_with_words_for_an_analyst(verified):
    for row in verified.failures():
        assert row["attempts"] == 1
        assert row["error_message"].endswith(".")
        assert row["traceback"] is None, "an analyst need not read our code"
        assert row["verdict"] is None
        assert row["findings"] is None


def test_a_single_job_is_a_row_or_its_error(samples, verified):
    by_name = {row["uri"].rpartition("/")[2]: row["job_index"] for row in verified.results()}
    fine = next(s for s in samples if s.error_type is None)
    row = verified[by_name[fine.file]].result()
    assert (row["verdict"], row["provenance"]["state"]) == (fine.verdict, fine.provenance_state)
    broken = next(s for s in samples if s.error_type is not None)
    with pytest.raises(JobFailed, match=broken.error_type):
        verified[by_name[broken.file]].result()


def test_the_folder_itself_is_a_source(client, samples):
    """Files that are no media lie in it too; each of them is judged or refused for itself."""
    batch = client.verify(samples.folder).wait(WAIT_S)
    found = judgements(samples, batch)
    table = expected(samples)
    assert {name: found[name] for name in found if name in table} == {
        name: table[name] for name in found if name in table
    }
    media = {name for name, (_, _, error) in table.items() if error is None}
    assert media <= set(found)


def test_bytes_are_judged_as_their_file_is(client, samples, verified):
    names = [s.file for s in samples if s.error_type is None and s.kind == "image"][:3]
    batch = client.verify([samples.path(name).read_bytes() for name in names])
    table = expected(samples)
    found = [(row["verdict"], row["provenance"]["state"], row["error_type"]) for row in batch.results(WAIT_S)]
    assert found == [table[name] for name in names]


def test_nothing_is_submitted_for_a_source_or_profile_that_cannot_be(client, samples, tmp_path):
    before = len(client.batches())
    for bad in (
        lambda: client.verify(tmp_path / "nowhere"),
        lambda: client.verify([]),
        lambda: client.verify(samples.paths(), profile="thorough"),
        lambda: client.verify(samples.paths(), trust_list=tmp_path / "none.pem"),
    ):
        with pytest.raises((InvalidInput, MediaError)):
            bad()
    assert len(client.batches()) == before
