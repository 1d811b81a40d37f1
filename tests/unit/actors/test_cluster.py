from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors.cluster import remove_folder


def test_a_folder_into_which_somebody_still_writes_is_removed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, n_tries = shutil.rmtree, 0

    def while_ray_ends(path: str, **options: Any) -> None:
        nonlocal n_tries
        n_tries += 1
        remove(path, **options)
        if n_tries < 3:
            (tmp_path / "ray" / "logs").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", while_ray_ends)
    (tmp_path / "ray").mkdir()
    remove_folder(str(tmp_path / "ray"))
    assert not (tmp_path / "ray").exists()
    assert n_tries == 3
