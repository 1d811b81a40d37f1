"""The memory cap, in processes of their own: what is refused, what ends the process, and what it leaves."""

import subprocess
import sys
import threading

import pytest

from dfbatch.actors import memory_limit
from dfbatch.actors.memory_limit import EXIT_CODE, MemoryLimit

pytestmark = pytest.mark.integration

SETUP = """
import mmap, sys, threading, time
from pathlib import Path
from dfbatch.actors.memory_limit import MemoryLimit
limit = MemoryLimit(Path(sys.argv[1]), "w")
limit.start()
cap = MemoryLimit.resident() + (200 << 20)
limit.set(cap)
"""


@pytest.fixture
def capped(tmp_path):
    """Runs code in a process that may need 200 MiB more than it has."""

    def run(code):
        command = [sys.executable, "-c", SETUP + code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    return run


def test_memory_beyond_the_cap_is_refused_as_an_exception(capped):
    done = capped(
        "try:\n    bytearray(400 << 20)\n"
        "except MemoryError:\n    print('refused')\n"
        "print(len(bytearray(100 << 20)) >> 20)\n"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["refused", "100"]), done.stderr


def test_memory_that_is_taken_bit_by_bit_is_refused_or_ends_the_process(capped, tmp_path):
    done = capped(
        "kept = []\n"
        "try:\n    while True:\n        kept.append(b'x' * (4 << 20)); time.sleep(0.001)\n"
        "except MemoryError:\n    n = len(kept); kept.clear(); print('refused' if n <= 54 else n)\n"
    )
    assert (done.returncode, done.stdout.strip()) in ((0, "refused"), (EXIT_CODE, "")), done.stderr


def test_what_was_freed_may_be_taken_again(capped):
    done = capped("for _ in range(8):\n    kept = bytearray(150 << 20); kept = None; time.sleep(0.06)\nprint('all')")
    assert (done.returncode, done.stdout.strip()) == (0, "all"), done.stderr


def test_threads_cost_nothing_that_they_do_not_touch(capped):
    """Each asks for megabytes of stack and touches some kilobytes of it: at the next look there is room for more."""
    done = capped(
        "import resource\n"
        "from dfbatch.actors.memory_limit import _sizes\n"
        "def room(): return resource.getrlimit(resource.RLIMIT_DATA)[0] - _sizes()[1]\n"
        "gate = threading.Event()\n"
        "for _ in range(60):\n"
        "    threading.Thread(target=gate.wait, daemon=True).start()\n"
        "    while room() < (150 << 20): time.sleep(0.01)\n"
        "gate.set(); print('all')"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "all"), done.stderr


def test_shared_pages_end_the_process_and_the_next_one_knows_why(capped, tmp_path):
    done = capped(
        "shared = mmap.mmap(-1, 600 << 20)\n"
        "for at in range(0, 600 << 20, 1 << 20):\n    shared[at] = 1; shared[at:at + (1 << 20)] = b'x' * (1 << 20)\n"
        "    time.sleep(0.001)\n"
        "time.sleep(30)"
    )
    assert done.returncode == EXIT_CODE, done.stderr
    note = MemoryLimit(tmp_path, "w").last_note
    assert note.ended
    assert note.was_at_its_cap
    assert note.resident > note.cap > 200 << 20
    assert not MemoryLimit(tmp_path, "w").last_note.ended, "it is told once"


def test_a_cap_that_is_lifted_holds_no_more(capped):
    done = capped("limit.set(None)\nprint(len(bytearray(300 << 20)) >> 20)")
    assert (done.returncode, done.stdout.strip()) == (0, "300"), done.stderr


def test_a_look_that_began_under_a_cap_does_not_bring_it_back_when_it_is_lifted(capped):
    done = capped(
        "import resource\n"
        "setrlimit, looks, go_on = resource.setrlimit, threading.Event(), threading.Event()\n"
        "def slow(*what):\n"
        "    if threading.current_thread().name == 'dfbatch-memory': looks.set(); go_on.wait(0.5)\n"
        "    setrlimit(*what)\n"
        "resource.setrlimit = slow\n"
        "looks.wait()\n"
        "limit.set(None); go_on.set()\n"
        "limit._stopped = True; limit._news.set(); limit._thread.join()\n"
        "print(len(bytearray(300 << 20)) >> 20)"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "300"), done.stderr


def test_a_look_that_gets_no_memory_itself_does_not_end_the_watch(tmp_path, monkeypatch, until):
    monkeypatch.setattr(memory_limit, "LAZY_WATCH_S", 0.001)
    monkeypatch.setattr(memory_limit, "WATCH_S", 0.001)
    limit, sizes, looks = MemoryLimit(tmp_path, "w"), memory_limit._sizes, []

    def starved():
        looks.append(threading.current_thread())
        if 1 < len(looks) < 4:
            raise MemoryError
        return sizes()

    monkeypatch.setattr(memory_limit, "_sizes", starved)
    limit.start()
    until(lambda: len(looks) > 5)
    assert set(looks[1:]) == {limit._thread}
    limit.stop()


def test_an_orderly_end_leaves_nothing(capped, tmp_path):
    assert capped("limit.stop()").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cap_below_what_a_worker_needs_is_said(tmp_path):
    limit = MemoryLimit(tmp_path, "w")
    assert limit.too_small(None) is None
    assert limit.too_small(1 << 40) is None
    said = limit.too_small(10 << 20)
    assert said is not None
    assert "10 MiB" in said
    assert "Give at least memory=" in said


def test_workers_that_share_a_process_have_no_cap():
    limit = MemoryLimit()
    limit.set(1)
    assert limit.too_small(1) is None
    assert len(bytearray(1 << 20)) == 1 << 20
