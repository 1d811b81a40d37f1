"""``dfbatch samples``: media on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfbatch.samples.sample import load_samples


def test_samples_are_written_and_the_next_command_is_told(dfbatch_command: Callable[..., Any], tmp_path: Path) -> None:
    answer = dfbatch_command("samples", tmp_path / "media")
    assert answer.code == 0
    assert f"dfbatch verify {tmp_path / 'media'}" in answer.out
    samples = load_samples(tmp_path / "media")
    assert answer.out.startswith(f"{len(samples)} files in")
    assert all(path.is_file() for path in samples.paths())


def test_a_folder_that_cannot_be_made_ends_with_one_sentence(
    dfbatch_command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = dfbatch_command("samples", tmp_path / "file" / "media")
    assert answer.code in (2, 3)
    assert answer.out == ""
    assert answer.err.splitlines()[-1].startswith("dfbatch: ")
