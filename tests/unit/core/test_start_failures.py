"""Workers that cannot be started are tried again, less and less often, and the reason is kept."""

from dfbatch.core.start_failures import FIRST_PAUSE_S, LONGEST_PAUSE_S, StartFailures


def test_each_failure_doubles_the_pause_up_to_a_limit():
    failures = StartFailures()
    assert failures.may_start("cpu1-gpu1", 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        failures.failed("cpu1-gpu1", "no", now)
        begin = now
        while not failures.may_start("cpu1-gpu1", now):
            now += 0.5
        pauses.append(now - begin)
    assert pauses[:4] == [FIRST_PAUSE_S, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert failures.may_start("default", 0.0), "other shapes have nothing to do with it"


def test_the_reason_goes_once_a_worker_came_up():
    failures = StartFailures()
    failures.failed("cpu2", "The environment\n  cannot be made.", 0.0)
    assert failures.reasons() == {"cpu2": "Workers do not start: The environment cannot be made."}
    failures.came_up("cpu2")
    assert failures.reasons() == {}
    assert failures.may_start("cpu2", 0.0)


def test_a_long_reason_keeps_its_beginning_and_its_last_words():
    failures = StartFailures()
    failures.failed("cpu2", "Setting up failed. " + "at some line, " * 1000 + "FileNotFoundError: x.zip", 0.0)
    (says,) = failures.reasons().values()
    assert len(says) < 600
    assert "Setting up failed." in says
    assert says.endswith("FileNotFoundError: x.zip")
