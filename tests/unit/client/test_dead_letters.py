"""Dead letters through the client: listed with their story, redriven across batches, purged; over restarts too."""

from __future__ import annotations

import json

import pyarrow.compute as pc
import pytest

import dfbatch
from dfbatch.client.dead_letters import keys_of_queue
from dfbatch.errors import ManagerUnavailable
from dfbatch.ledger.reading import LedgerReader
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

QUICK = dfbatch.Retry(max_attempts=3, initial_s=0.0, jitter=0.0)


class Mendable:
    """Fails for odd items until the file ``mended`` is there; multiples of five fail so that a retry is worth it."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, item):
        import os

        import dfbatch

        if os.path.exists(os.path.join(self.folder, "mended")):
            return item
        if item % 5 == 0:
            raise dfbatch.TransientError(f"the scorer is busy with {item}")
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "switch"


@pytest.fixture
def mend(folder):
    folder.mkdir()
    return lambda: (folder / "mended").touch()


@pytest.fixture
def open_client(ledger_path):
    """A client on the ledger of this test; calling it again is a restart of the manager."""
    running = []

    def run(**options):
        while running:
            running.pop().__exit__(None, None, None)
        opened = InProcess(ledger_path, workers=2, session="one", **options)
        running.append(opened)
        return opened.__enter__()

    yield run
    while running:
        running.pop().__exit__(None, None, None)


@pytest.fixture
def client(open_client):
    return open_client()


@pytest.fixture
def fail(folder, mend):
    """A batch of the queue ``scans``, ended: items 1, 3, 5, 7, 9, 10 of 1..10 have failed."""

    def run(client, items=range(1, 11), queue="scans", **options):
        options = {"fail_fast": False, "retry": QUICK} | options
        return client.map(Mendable, list(items), {"folder": str(folder)}, queue=queue, **options).wait(60)

    return run


def indices(letters):
    return sorted(zip(letters["batch_id"].to_pylist(), letters["job_index"].to_pylist(), strict=True))


def test_a_queue_lists_the_dead_letters_of_all_its_batches_with_what_went_in(client, fail):
    first, second = fail(client), fail(client, [1, 2])
    fail(client, [3], queue="others")
    letters = client.queue("scans").dead_letters()
    assert indices(letters) == sorted([(first.id, k) for k in (0, 2, 4, 6, 8, 9)] + [(second.id, 0)])
    assert set(letters["status"].to_pylist()) == {"failed"}
    assert [row["input"]["item"] for row in letters if row["batch_id"] == first.id] == [1, 3, 5, 7, 9, 10]
    assert indices(second.dead_letters()) == [(second.id, 0)]
    assert client.queue("scans").stats()["dead_letters"] == 7


def test_the_story_of_a_dead_letter_tells_every_try(client, fail):
    batch = fail(client)
    letters = client.queue("scans").dead_letters({"error_type": "TransientError"})
    assert len(letters) == 2
    story = letters.story(0)
    assert story.job_id == f"{batch.id}-4"
    assert [(c["generation"], c["attempt"], c["outcome"]) for c in story] == [
        (0, 1, "retried"),
        (0, 2, "retried"),
        (0, 3, "failed"),
    ]
    for chapter in story:
        assert chapter["error_class"] == "transient"
        assert chapter["error_message"] == "the scorer is busy with 5"
        assert chapter["worker_id"].startswith("thread-")
        assert chapter["started_at"] <= chapter["finished_at"]
    assert "try 2" in str(story)
    assert "TransientError: the scorer is busy with 5" in str(story)
    assert list(letters.story(f"{batch.id}-4")) == list(batch[4].story()) == list(story)
    assert story.to_arrow().num_rows == 3
    with pytest.raises(dfbatch.UnknownId, match="none of these 2"):
        letters.story(f"{batch.id}-1")


def test_stories_can_be_a_column(client, fail):
    fail(client)
    letters = client.queue("scans").dead_letters().with_stories()
    assert [len(told) for told in letters["story"].to_pylist()] == [1, 1, 3, 1, 1, 3]
    assert type(letters.filter(status="failed")) is type(letters)


def test_dead_letters_are_chosen_and_bounded(client, fail):
    fail(client)
    queue = client.queue("scans")
    assert len(queue.dead_letters(limit=2)) == 2
    assert len(queue.dead_letters(pc.field("attempts") == 1)) == 4
    assert len(queue.dead_letters(pc.field("attempts") == 1, limit=3)) == 3
    assert len(queue.dead_letters({"job_index": [0, 2]})) == 2
    assert len(queue.dead_letters(lambda row: row["input"]["item"] > 8)) == 2
    with pytest.raises(dfbatch.InvalidInput, match="limit: -1"):
        queue.dead_letters(limit=-1)
    with pytest.raises(dfbatch.InvalidInput, match="colour"):
        queue.dead_letters({"colour": "red"})
    assert len(client.queue("nobody").dead_letters()) == 0


def test_a_redrive_runs_dead_letters_of_several_batches_again_and_keeps_their_past(client, fail, mend):
    first, second = fail(client), fail(client, [1, 2])
    queue = client.queue("scans")
    mend()
    assert queue.redrive() == 7
    assert first.wait(60).status == second.wait(60).status == dfbatch.BatchState.SUCCEEDED
    assert len(queue.dead_letters()) == len(first.dead_letters()) == queue.stats()["dead_letters"] == 0
    rows = first.results().to_arrow()
    assert rows["generation"].to_pylist() == [1, 0, 1, 0, 1, 0, 1, 0, 1, 1]
    assert set(rows["attempts"].to_pylist()) == {1}
    told = [(c["generation"], c["outcome"]) for c in first[4].story()]
    assert told == [(0, "retried"), (0, "retried"), (0, "failed"), (1, "succeeded")]
    assert queue.redrive() == 0


def test_a_redrive_of_some_leaves_the_others(client, fail, mend):
    batch = fail(client)
    queue = client.queue("scans")
    mend()
    assert queue.redrive({"job_index": [0, 2]}) == 2
    batch.wait(60)
    assert [k for _, k in indices(queue.dead_letters())] == [4, 6, 8, 9]


def test_what_fails_again_is_a_dead_letter_of_its_next_generation(client, fail):
    batch = fail(client, [1, 2, 3])
    assert client.queue("scans").redrive(lambda row: row["job_index"] == 0) == 1
    batch.wait(60)
    letters = client.queue("scans").dead_letters()
    assert letters["generation"].to_pylist() == [1, 0]
    assert [c["generation"] for c in letters.story(0)] == [0, 1]


def test_purged_letters_are_gone_from_the_list_but_not_from_the_results(client, fail, mend):
    batch = fail(client)
    queue = client.queue("scans")
    assert queue.purge({"job_index": [0, 2]}) == 2
    assert [k for _, k in indices(queue.dead_letters())] == [4, 6, 8, 9]
    assert queue.stats()["dead_letters"] == 4
    assert len(batch.failures()) == 6
    mend()
    assert batch.retry_failed() == 4
    batch.wait(60)
    assert batch.results()["status"].to_pylist().count("failed") == 2
    assert batch.status == dfbatch.BatchState.PARTIAL
    assert queue.purge() == queue.redrive() == 0


def test_a_purge_is_logged_with_the_ranges_of_each_batch(client, fail):
    first, second = fail(client, [1, 3, 2, 7]), fail(client, [1])
    assert client.queue("scans").purge() == 4
    events = client._session.reader.read("events").filter(pc.field("kind") == "purged").to_pylist()
    told = {e["batch_id"]: (e["queue"], json.loads(e["detail"])["ranges"]) for e in events}
    assert told == {first.id: ("scans", [[0, 2], [3, 4]]), second.id: ("scans", [[0, 1]])}


@pytest.mark.parametrize("call", ["redrive", "purge"])
def test_an_unknown_queue_is_named_with_those_there_are(client, fail, call):
    fail(client, [2])
    with pytest.raises(dfbatch.UnknownId, match="no queue 'scams'.*scans"):
        getattr(client.queue("scams"), call)()


def test_after_a_restart_ended_batches_are_listed_redriven_and_purged_as_before(open_client, fail, mend):
    client = open_client()
    first, second = fail(client), fail(client, [1, 2, 3])
    client.queue("scans").purge({"job_index": [0]})
    client = open_client()
    queue = client.queue("scans")
    assert [q.name for q in client.queues()] == ["scans"]
    assert queue.stats()["dead_letters"] == len(queue.dead_letters()) == 6
    assert queue.purge({"job_index": [9]}) == 1
    assert queue.stats()["dead_letters"] == 5
    client = open_client()
    queue = client.queue("scans")
    mend()
    assert queue.redrive() == 5
    first, second = client.attach(first.id).wait(60), client.attach(second.id).wait(60)
    assert first.results()["status"].to_pylist().count("failed") == 2
    assert second.results()["status"].to_pylist() == ["failed", "succeeded", "succeeded"]
    assert first.retry_failed() == second.retry_failed() == 0
    client = open_client()
    assert client.queue("scans").stats()["dead_letters"] == len(client.queue("scans").dead_letters()) == 0


def test_batches_that_left_memory_are_redriven_and_purged_as_others_are(client, fail, mend, monkeypatch):
    monkeypatch.setattr("dfbatch.core.ending.FINISHED_KEPT", 1)
    batches = [fail(client, [1, 2, 3]) for _ in range(3)]
    queue = client.queue("scans")
    assert queue.purge({"job_index": [0]}) == 3
    assert queue.stats()["dead_letters"] == len(queue.dead_letters()) == 3
    mend()
    assert queue.redrive() == 3
    for batch in batches:
        assert batch.wait(60).results()["status"].to_pylist() == ["failed", "succeeded", "succeeded"]
        assert batch.retry_failed() == 0
    assert queue.stats()["dead_letters"] == len(queue.dead_letters()) == 0


def test_a_redrive_that_has_no_room_begins_nothing(client, fail):
    first, second = fail(client), fail(client, [1, 3])
    queue = client.queue("scans")
    queue.set_policy(max_length=7)
    with pytest.raises(dfbatch.QueueFull, match="8 more were not accepted"):
        queue.redrive()
    assert first.status == second.status == dfbatch.BatchState.PARTIAL
    assert len(queue.dead_letters()) == 8
    queue.set_policy(max_length=8)
    assert queue.redrive() == 8
    first.wait(60)


def test_names_of_dead_letters_that_are_old_by_now_redrive_nothing(client, fail, mend):
    """A call that is repeated because its answer was lost must not run what has failed again since."""
    from dfbatch.client.dead_letters import keys_of_queue

    batch = fail(client, [1, 2])
    session = client._session
    keys = keys_of_queue(session, "scans")
    assert session.call("redrive_dead", "scans", keys) == 1
    batch.wait(60)
    assert session.call("redrive_dead", "scans", keys) == session.call("purge_dead", "scans", keys) == 0
    assert len(client.queue("scans").dead_letters()) == 1


def test_expired_jobs_are_dead_letters_too(client, fail):
    client.queue("scans").pause()
    batch = client.map(lambda item: item, [1, 2], queue="scans", deadline_s=0.01)
    batch.wait(60)
    assert batch.status == dfbatch.BatchState.EXPIRED
    letters = client.queue("scans").dead_letters()
    assert letters["status"].to_pylist() == ["expired", "expired"]
    assert [c["outcome"] for c in letters.story(0)] == ["expired"]


class LosesAnswers:
    """A link that carries one call of a method out and loses its answer, as a kill of the manager after it would."""

    def __init__(self, link, method):
        self._link = link
        self._method = method
        self.lost = 0

    def call(self, method, *arguments, timeout_s=30.0):
        answer = self._link.call(method, *arguments, timeout_s=timeout_s)
        if method == self._method and not self.lost:
            self.lost += 1
            raise ManagerUnavailable("The answer was lost.")
        return answer


@pytest.fixture
def lose(client, monkeypatch):
    """Makes the session of the client lose its next answer to a method."""

    def run(method):
        link = LosesAnswers(client._session.link, method)
        monkeypatch.setattr(client._session, "link", link)
        return link

    return run


@pytest.mark.parametrize(
    ("method", "again"),
    [
        ("redrive", lambda batch, queue: batch.retry_failed()),
        ("redrive_dead", lambda batch, queue: queue.redrive()),
        ("purge_dead", lambda batch, queue: queue.purge()),
    ],
)
def test_a_call_whose_answer_was_lost_is_carried_out_once_and_answered(client, fail, lose, method, again):
    batch = fail(client)
    link = lose(method)
    assert again(batch, client.queue("scans")) == 6
    assert link.lost == 1
    batch.wait(60)
    generations = LedgerReader(client._session.storage).read("results", batch_id=batch.id).column("generation")
    assert pc.max(generations).as_py() == (0 if method == "purge_dead" else 1)


@pytest.mark.parametrize("method", ["redrive", "redrive_dead"])
def test_a_redrive_that_a_killed_manager_had_begun_is_not_begun_again(open_client, fail, method):
    client = open_client()
    batch = fail(client)
    arguments = (batch.id, None) if method == "redrive" else ("scans", keys_of_queue(client._session, "scans"))
    assert client._session.call(method, *arguments, "r1") == 6
    assert batch.wait(60).counts() == {"succeeded": 4, "failed": 6}
    client = open_client()
    assert client._session.call(method, *arguments, "r1") == 6, "the answer of the first life"
    assert client.attach(batch.id).wait(60).counts() == {"succeeded": 4, "failed": 6}
    generations = client.attach(batch.id).results().to_arrow().column("generation")
    assert pc.max(generations).as_py() == 1
    assert client._session.call("redrive", batch.id, None, "r2") == 6, "another request is another redrive"


def test_a_redrive_of_many_batches_cut_short_by_a_kill_is_finished_by_its_repeat(open_client, fail):
    client = open_client()
    batches = [fail(client, [1]), fail(client, [3])]
    keys = keys_of_queue(client._session, "scans")
    first = keys.filter(pc.equal(keys.column("batch_id"), batches[0].id))
    assert client._session.call("redrive_dead", "scans", first, "r1") == 1
    batches[0].wait(60)
    client = open_client()
    assert client._session.call("redrive_dead", "scans", keys, "r1") == 2
    for batch in batches:
        assert client.attach(batch.id).wait(60).results().to_arrow().column("generation").to_pylist() == [1]
