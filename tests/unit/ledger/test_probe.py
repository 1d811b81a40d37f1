from __future__ import annotations

import pytest

from dfbatch.errors import StorageUnusable
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.probe import check_storage


def test_a_good_storage_passes_and_keeps_nothing_of_the_probe(storage):
    check_storage(storage)
    assert list(storage.list("probes")) == []


def test_a_storage_that_cannot_be_written_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnusable, match=r"cannot be used from here.*choose another storage_path"):
        check_storage(LocalStorage(str(tmp_path / "file")))


@pytest.mark.parametrize("step", range(1, 7))
def test_a_storage_that_fails_at_any_step_is_refused(tmp_path, failing_disk, step):
    with pytest.raises(StorageUnusable):
        check_storage(LocalStorage(str(tmp_path), disk=failing_disk(step)))


def test_a_storage_that_hides_what_was_written_is_refused(storage, monkeypatch):
    monkeypatch.setattr(storage, "list", lambda folder: [])
    with pytest.raises(StorageUnusable, match="does not give back what was written"):
        check_storage(storage)
