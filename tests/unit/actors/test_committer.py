"""The thread that makes rows durable: many reports in one commit, none of them lost."""

import threading

import pyarrow as pa
import pytest

from dfbatch.actors import committer as committer_module
from dfbatch.actors.committer import Committer, Done, Pending
from dfbatch.actors.outcome_rows import OutcomeRows
from dfbatch.errors import CommitUnknown, LedgerFenced, StorageRefused, StorageUnusable

pytestmark = pytest.mark.integration

WAIT_S = 60.0
NOW = 1_780_000_000.0


class Writer:
    """Takes commits down; ``script`` holds an exception, or None, for each call to come."""

    def __init__(self):
        self.groups, self.script, self.n_calls = [], [], 0
        self.door = threading.Event()
        self.door.set()
        self.upkeep = 0
        self._number = 0

    def next_commit_id(self):
        self._number += 1
        return self._number

    def commit(self, group):
        self.n_calls += 1
        assert self.door.wait(WAIT_S)
        answer = self.script.pop(0) if self.script else None
        if answer is not None:
            raise answer
        self.groups.append(group)

    def maintain(self, now_wall):
        self.upkeep += 1
        return False


class News:
    """What the committer told; ``wait(n)`` returns after ``n`` answers."""

    def __init__(self):
        self.done, self.refusals = [], []
        self._came = threading.Semaphore(0)

    def report(self, done):
        self.done.append(done)
        self._came.release()

    def wait(self, n=1):
        for _ in range(n):
            assert self._came.acquire(timeout=WAIT_S)


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def news():
    return News()


@pytest.fixture
def committer(writer, news):
    found = Committer(writer, news.report, news.refusals.append, lambda: NOW)
    yield found
    writer.door.set()
    writer.script.clear()
    found.stop()
    assert not found._thread.is_alive()


def rows(*values):
    return lambda: {"events": pa.table({"value": list(values)})}


def values_of(group):
    return group.tables["events"].column("value").to_pylist()


def test_what_somebody_waits_for_is_committed_at_once(committer, writer, news):
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    news.wait()
    assert [done.tags for done in news.done] == [["tag"]]
    assert news.done[0].error is None
    assert values_of(writer.groups[0]) == [1]


def test_reports_that_come_while_it_writes_share_the_next_commit(committer, writer, news):
    writer.door.clear()
    committer.put(Pending(rows(0), 0, 1, urgent=True))
    while not writer.n_calls:
        threading.Event().wait(0.001)
    for k in range(1, 50):
        committer.put(Pending(rows(k), k, 1))
    assert committer.backlog_rows == 50
    writer.door.set()
    news.wait(2)
    assert [values_of(group) for group in writer.groups] == [[0], list(range(1, 50))]
    assert news.done[1].tags == list(range(1, 50))


class Compared(Pending):
    """Counts how often one was compared with another."""

    n_times = 0
    __hash__ = object.__hash__

    def __eq__(self, other):
        Compared.n_times += 1
        return self is other


def test_an_outage_with_very_many_reports_does_not_hold_up_those_who_bring_more(committer, writer, news):
    """Whoever brings more waits for the lock while those that wait are sorted out: none is compared with the others."""
    writer.door.clear()
    committer.put(Pending(rows(-1), "first", 1, urgent=True))
    while not writer.n_calls:
        threading.Event().wait(0.001)
    with committer._condition:
        committer._pending = [Compared(dict, k, lazy=k % 2 == 0) for k in range(40_000)]
    writer.door.set()
    news.wait()
    committer.put(Pending(rows(2), "urgent", 1, urgent=True))
    while sum(len(done.tags) for done in news.done) < 40_002:
        news.wait()
    assert Compared.n_times <= 40_000, "the lock was held while each was compared with each"


def test_rows_nobody_waits_for_are_committed_soon_anyway(committer, writer, news):
    with committer._condition:  # so that the second is not late for the commit of the first
        committer.put(Pending(rows(1), "a", 1))
        committer.put(Pending(rows(2), "b", 1))
    news.wait()
    assert values_of(writer.groups[0]) == [1, 2]


def test_a_refused_write_is_tried_again_with_the_same_rows(committer, writer, news):
    writer.script = [StorageRefused("disk full"), StorageRefused("disk full")]
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    news.wait()
    assert news.done[0].error is None
    assert news.refusals == ["disk full", None]
    assert writer.n_calls == 3
    assert [values_of(group) for group in writer.groups] == [[1]]


def test_a_refused_submit_is_refused_and_not_kept(committer, writer, news):
    writer.script = [StorageRefused("disk full")]
    committer.put(Pending(rows(1), "submit", 1, urgent=True, alone=True))
    news.wait()
    assert isinstance(news.done[0].error, StorageRefused)
    assert news.done[0].tags == ["submit"]
    assert news.refusals == []
    assert writer.n_calls == 1


def test_a_submit_of_which_it_is_not_known_whether_it_is_there_is_tried_until_it_is(committer, writer, news):
    writer.script = [CommitUnknown("the folder could not be synced")] * 2
    committer.put(Pending(rows(1), "submit", 1, urgent=True, alone=True))
    news.wait()
    assert news.done[0].error is None
    assert writer.n_calls == 3
    assert news.refusals == ["the folder could not be synced", None]


def test_a_submit_that_was_unknown_and_then_surely_is_not_there_is_refused(committer, writer, news):
    writer.script = [CommitUnknown("away"), StorageRefused("full")]
    committer.put(Pending(rows(1), "submit", 1, urgent=True, alone=True))
    news.wait()
    assert type(news.done[0].error) is StorageRefused
    assert news.refusals == ["away", None]


def test_stopping_does_not_say_that_a_submit_is_refused_if_that_is_not_known(writer, news):
    committer = Committer(writer, news.report, news.refusals.append, lambda: NOW)
    writer.script = [CommitUnknown("away")] * 1000
    committer.put(Pending(rows(1), "submit", 1, urgent=True, alone=True))
    while not news.refusals:
        threading.Event().wait(0.001)
    committer.stop(timeout_s=WAIT_S)
    assert isinstance(news.done[-1].error, CommitUnknown)


@pytest.mark.parametrize("error", [OSError("I/O"), StorageUnusable("away")], ids=lambda error: type(error).__name__)
def test_rows_that_need_the_storage_to_be_put_together_wait_for_it(committer, writer, news, error):
    troubles = [error, error]

    def build():
        if troubles:
            raise troubles.pop()
        return rows(7)()

    committer.put(Pending(build, "tag", 1, urgent=True))
    news.wait()
    assert news.done[0].error is None
    assert [values_of(group) for group in writer.groups] == [[7]]


def test_an_error_that_storage_did_not_name_is_trouble_of_the_storage_too(committer, writer, news):
    writer.script = [OSError("stale file handle")]
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    news.wait()
    assert news.done[0].error is None
    assert writer.n_calls == 2


@pytest.mark.parametrize(
    "error", [OSError("I/O"), StorageUnusable("away"), StorageRefused("full"), ZeroDivisionError("a fault of ours")]
)
def test_upkeep_that_fails_does_not_end_the_thread_and_is_tried_again(writer, news, monkeypatch, error):
    monkeypatch.setattr(committer_module, "UPKEEP_PAUSE_S", 0.0)
    troubles = [error]

    def maintain(now_wall):
        writer.upkeep += 1
        if troubles:
            raise troubles.pop()
        return False

    writer.maintain = maintain
    committer = Committer(writer, news.report, news.refusals.append, lambda: NOW)
    while writer.upkeep < 2:
        assert committer._thread.is_alive()
        threading.Event().wait(0.001)
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    news.wait()
    assert news.done[0].error is None
    committer.stop()


def test_a_submit_never_shares_a_commit_with_rows_that_must_be_kept(committer, writer, news):
    writer.door.clear()
    committer.put(Pending(rows(0), 0, 1, urgent=True))
    while not writer.n_calls:
        threading.Event().wait(0.001)
    committer.put(Pending(rows(1), "outcome", 1, urgent=True))
    committer.put(Pending(rows(2), "submit", 1, urgent=True, alone=True))
    writer.script = [None, StorageRefused("full"), None]
    writer.door.set()
    news.wait(3)
    told = {tuple(done.tags): done.error for done in news.done}
    assert isinstance(told[("submit",)], StorageRefused)
    assert told[("outcome",)] is None


def test_rows_that_cannot_be_built_or_written_cost_only_themselves(committer, writer, news, until):
    def broken():
        raise ZeroDivisionError

    writer.door.clear()
    committer.put(Pending(rows(0), 0, 1, urgent=True))
    while not writer.n_calls:
        threading.Event().wait(0.001)
    for tag, build in ((1, rows(1)), (2, broken), (3, rows(3))):
        committer.put(Pending(build, tag, 1, urgent=True))
    writer.door.set()
    news.wait(4)
    told = {tuple(done.tags): done.error for done in news.done}
    assert isinstance(told[(2,)], ZeroDivisionError)
    assert told[(1,)] is told[(3,)] is None
    assert [values_of(group) for group in writer.groups] == [[0], [1], [3]]
    until(lambda: committer.backlog_rows == 0)  # counted off after all of them were told


@pytest.mark.parametrize(
    ("there", "again"),
    [
        ({"attempts"}, {"outputs_1", "results"}),
        ({"attempts", "outputs_1"}, {"outputs_1", "results"}),
        ({"attempts", "outputs_1", "results"}, set()),
    ],
)
def test_what_a_failed_commit_wrote_is_not_written_twice(committer, writer, news, monkeypatch, there, again):
    """Outputs belong to the commit of their results; the others stand for themselves."""
    refused, groups = [], []

    def commit(group):
        if not refused:
            refused.append(group)
            group.committed |= there
            raise ZeroDivisionError("no table takes one of these rows")
        groups.append(set(group.tables))

    monkeypatch.setattr(writer, "commit", commit)
    tables = {name: pa.table({"x": [1]}) for name in ("attempts", "outputs_1", "results")}
    with committer._condition:  # so that both come into one commit
        for tag in ("a", "b"):
            committer.put(Pending(lambda: dict(tables), tag, 1, urgent=True))
    news.wait(2)
    assert groups == [again, again]
    assert [done.tags for done in news.done] == [["a"], ["b"]]


def test_a_newer_manager_ends_it_for_good(committer, writer, news):
    writer.script = [LedgerFenced("events", 1, 2)]
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    news.wait()
    assert isinstance(news.done[0].error, LedgerFenced)
    upkeep = writer.upkeep
    committer.stop()
    assert writer.upkeep == upkeep, "it tends a ledger that is not its own"


def test_stopping_writes_what_waits(writer, news):
    committer = Committer(writer, news.report, news.refusals.append, lambda: NOW)
    for k in range(5):
        committer.put(Pending(rows(k), k, 1))
    committer.stop()
    assert sorted(v for group in writer.groups for v in values_of(group)) == [0, 1, 2, 3, 4]


def test_stopping_does_not_wait_for_storage_that_refuses(writer, news):
    committer = Committer(writer, news.report, news.refusals.append, lambda: NOW)
    writer.script = [StorageRefused("full")] * 1000
    committer.put(Pending(rows(1), "tag", 1, urgent=True))
    while not news.refusals:
        threading.Event().wait(0.001)
    committer.stop(timeout_s=WAIT_S)
    assert not committer._thread.is_alive()
    assert isinstance(news.done[-1].error, StorageRefused)


def test_while_idle_it_tends_the_ledger(committer, writer, until):
    until(lambda: writer.upkeep)


def test_outcomes_carry_the_number_of_their_commit(committer, writer, news):
    results = pa.table({"job_index": [1, 2], "commit_id": pa.nulls(2, pa.int64())})
    output = pa.table({"output": [3, 4], "commit_id": pa.nulls(2, pa.int64())})
    built = OutcomeRows(results=results, output=output, outputs_name="outputs_12345678")
    committer.put(Pending(lambda: built, "tag", 2, urgent=True))
    news.wait()
    (group,) = writer.groups
    assert group.tables["results"].column("commit_id").to_pylist() == [group.commit_id] * 2
    assert group.tables["outputs_12345678"].column("commit_id").to_pylist() == [group.commit_id] * 2


def test_done_is_told_with_its_tags():
    assert Done([1, 2]).error is None
