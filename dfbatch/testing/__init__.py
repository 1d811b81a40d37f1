"""dfbatch without Ray, and a clock that stands still: for our tests and for users' tests."""

from dfbatch.clock import ManualClock
from dfbatch.testing.in_process import InProcess

__all__ = ["InProcess", "ManualClock"]
