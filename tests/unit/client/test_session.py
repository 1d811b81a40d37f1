"""What every handle shares: patience with a manager that restarts, and files of the ledger."""

import pytest

from dfbatch.client.session import Session
from dfbatch.errors import ClientClosed, ManagerRecovering, ManagerUnavailable, QueueFull, StorageInUse
from dfbatch.ledger import blobs
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage


class Scripted:
    """A link that answers as it is told; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def call(self, method, *arguments, timeout_s=30.0):
        self.calls.append((method, arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path)


def session(storage, link, **more):
    return Session(link, storage, LedgerReader(storage), "off", **more)


def test_a_manager_that_restarts_is_asked_again(storage):
    link = Scripted(ManagerUnavailable("away"), ManagerRecovering(0.01), "answer")
    assert session(storage, link).call("progress", "k3f2m9qx") == "answer"
    assert link.calls == [("progress", ("k3f2m9qx",))] * 3


def test_patience_ends_with_advice(storage):
    link = Scripted(*[ManagerRecovering(0.01, "replaying")] * 50)
    with pytest.raises(ManagerUnavailable, match=r"did not answer for 0\.1 s .*replaying.*Committed results are safe"):
        session(storage, link).call("health", patience_s=0.1)


def test_a_refusal_is_not_repeated(storage):
    link = Scripted(QueueFull("q", 1, 1, 1))
    with pytest.raises(QueueFull):
        session(storage, link).call("submit")
    assert len(link.calls) == 1


def test_without_a_manager_control_is_refused_in_the_words_of_who_knows(storage):
    with pytest.raises(StorageInUse, match="held by process 7"):
        session(storage, None, held_by="held by process 7").call("pause", "k3f2m9qx")


def test_a_closed_session_calls_nobody(storage):
    link = Scripted()
    found = session(storage, link, closed=True)
    for call in (lambda: found.call("health"), lambda: found.progress("k3f2m9qx")):
        with pytest.raises(ClientClosed):
            call()
    assert link.calls == []


def test_files_of_the_ledger_are_read_and_no_others(storage, tmp_path):
    sha = blobs.put(storage, b"picture")
    made = blobs.put(storage, b"heat map", "artifacts")
    (tmp_path / "secret").write_text("no")
    found = session(storage, None)
    assert found.read_file(f"blobs/{sha}") == b"picture"
    assert found.read_file(f"artifacts/{made}") == b"heat map"
    for path in (f"blobs/{'0' * 64}", "blobs/../secret", "../secret", "secret", "", f"verifiers/{sha}"):
        assert found.read_file(path) is None
