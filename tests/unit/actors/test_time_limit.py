"""The time limit of an item: the stack that it leaves, read for people. Real Ray shows that it ends hung code."""

from __future__ import annotations

from pathlib import Path

import dfbatch.actors.item_run
from dfbatch.actors.time_limit import TIMEOUT_HEAD, where_it_hung

_OWN = Path(dfbatch.actors.item_run.__file__)

DUMP = f"""{TIMEOUT_HEAD}0:00:01.100000)!
Thread 0x01 (most recent call first):
  File "/lib/threading.py", line 331 in wait
  File "{_OWN.with_name("worker.py")}", line 248 in _heartbeat_loop

Thread 0x02 (most recent call first):
  File "/home/ana/models.py", line 8 in forward
  File "/home/ana/checks.py", line 3 in check
  File "{_OWN}", line 48 in run
  File "{_OWN.with_name("worker.py")}", line 175 in _outcomes
"""


def test_only_the_frames_of_the_users_code_are_shown() -> None:
    lines = where_it_hung(DUMP).splitlines()
    assert [line.strip() for line in lines[1:]] == [
        'File "/home/ana/models.py", line 8 in forward',
        'File "/home/ana/checks.py", line 3 in check',
    ]


def test_a_dump_that_is_not_understood_is_shown_whole() -> None:
    assert where_it_hung("Timeout!\n<no Python frame>") == "Timeout!\n<no Python frame>"
