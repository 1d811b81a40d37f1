"""The mark that tells which item a worker died on."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np

from dfbatch.actors.position_mark import PositionMark, marks_folder
from dfbatch.core.death import CONSTRUCTING

ROOT = Path(__file__).parents[3]


def test_a_fresh_mark_stands_nowhere(tmp_path):
    assert PositionMark(tmp_path, "w").last() is None


def test_another_object_on_the_same_name_reads_what_was_marked(tmp_path):
    mark = PositionMark(tmp_path, "w")
    mark.cells[0], mark.cells[1] = 1 << 40, 12
    assert PositionMark(tmp_path, "w").last() == (1 << 40, 12)
    assert PositionMark(tmp_path, "other").last() is None
    mark.clear()
    assert PositionMark(tmp_path, "w").last() is None


def test_the_mark_outlives_a_worker_that_is_killed_outright(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom dfbatch.actors.position_mark import PositionMark\n"
        "mark = PositionMark(Path(sys.argv[1]), 'w')\n"
        "for index in range(1000):\n    mark.cells[0], mark.cells[1] = 77, index\n"
        "print('at work', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert PositionMark(tmp_path, "w").last() == (77, 999)


def test_a_file_of_any_other_size_is_made_fit(tmp_path):
    (tmp_path / "w.mark").write_bytes(b"odd")
    mark = PositionMark(tmp_path, "w")
    mark.clear()
    assert mark.last() is None


def test_the_stack_of_a_time_limit_is_taken_once(tmp_path):
    mark = PositionMark(tmp_path, "w")
    assert mark.take_stack() == ""
    mark.stack_path.write_bytes(b"Thread 0x1 \xff in loop")
    assert "in loop" in mark.take_stack()
    assert mark.take_stack() == ""


def test_an_orderly_end_leaves_nothing_behind(tmp_path):
    mark = PositionMark(tmp_path, "w")
    mark.stack_path.touch()
    mark.remove()
    mark.remove()
    assert list(tmp_path.iterdir()) == []


def test_marks_are_for_their_user_only(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = marks_folder("ns")
    assert folder == marks_folder("ns")
    assert folder.is_relative_to(tmp_path)
    mark = PositionMark(folder, "w")
    assert stat.S_IMODE(mark.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_verifier_of_the_last_chunk_is_known_and_how_far_it_came(tmp_path):
    mark = PositionMark(tmp_path, "w")
    assert (mark.last_verifier(), mark.last_begun(), mark.is_at_item) == ("", 0, False)
    mark.begin("f" * 64, np.arange(40, 50))
    mark.cells[0], mark.cells[1] = 7, 43
    again = PositionMark(tmp_path, "w")
    assert (again.last_verifier(), again.last_begun(), again.is_at_item) == ("f" * 64, 3, True)
    again.begin("k3f2m9qx", np.array([40, 43]))
    assert (again.last_verifier(), again.last_begun()) == ("k3f2m9qx", 0), "jobs with gaps between them"
    again.begin("x" * 500, np.array([43]))
    assert again.last_verifier() == "x" * 128
    again.cells[1] = CONSTRUCTING
    assert (again.is_at_item, again.last_begun()) == (False, 0)
    again.clear()
    assert again.last_begun() == 0
