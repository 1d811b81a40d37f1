"""What is made of the remains of a dead process."""

from pathlib import Path

import dfbatch.actors.item_run
from dfbatch.actors import last_death as module
from dfbatch.actors.last_death import last_death
from dfbatch.actors.memory_limit import MemoryNote
from dfbatch.actors.time_limit import TIMEOUT_HEAD

_OWN = Path(dfbatch.actors.item_run.__file__)
CRASH = f"""Fatal Python error: Segmentation fault

Thread 0x02 (most recent call first):
  File "/lib/threading.py", line 331 in wait

Current thread 0x01 (most recent call first):
  File "/home/ana/models.py", line 8 in forward
  File "{_OWN}", line 48 in run

Extension modules: numpy.core._multiarray_umath (total: 1)
"""
NOTHING = MemoryNote()


def test_a_crash_is_told_with_its_kind_and_its_place():
    death = last_death(CRASH, NOTHING)
    assert death.error_type == "WorkerCrash"
    assert death.words == "crashed (Segmentation fault)"
    assert death.stack.splitlines()[1:] == ['  File "/home/ana/models.py", line 8 in forward']


def test_a_note_of_the_watch_is_out_of_memory():
    death = last_death("", MemoryNote(True, 700 << 20, 600 << 20))
    assert death.error_type == "HostOutOfMemory"
    assert not death.of_node
    assert "needed 700 MiB of the 600 MiB" in death.words


def test_native_code_that_aborts_at_its_cap_ran_out_of_memory_and_one_that_crashes_did_not():
    full = MemoryNote(False, 590 << 20, 600 << 20)
    assert last_death(CRASH.replace("Segmentation fault", "Aborted"), full).out_of_memory
    assert last_death("", full).out_of_memory
    assert not last_death(CRASH, full).out_of_memory
    assert not last_death(CRASH.replace("Segmentation fault", "Aborted"), MemoryNote(False, 90, 600)).out_of_memory


def test_a_kill_of_the_kernel_since_the_last_look_is_taken_for_this_one(monkeypatch):
    monkeypatch.setattr(module, "oom_kills", lambda: 4)
    death = last_death("", MemoryNote(oom_kills=3))
    assert (death.out_of_memory, death.of_node) == (True, True)
    assert last_death("", MemoryNote(oom_kills=4)) is None


def test_where_nothing_tells_nothing_is_said():
    assert last_death("", NOTHING) is None
    assert last_death(f"{TIMEOUT_HEAD}0:00:01)!\nThread 1", NOTHING) is None
