"""How a process of a worker ended, by its own word or by that of its pool. Ray's memory monitor is in tests/cluster."""

import pytest

from dfbatch.actors.messages import Exchange, Hello
from dfbatch.core.death import Death
from dfbatch.version import __version__

pytestmark = pytest.mark.integration

RAYS_WORDS = "1 worker(s) were killed due to the node running low on memory. Memory on the node was 22.4GB / 23.5GB"
OWN_WORD = Death(words="crashed (Segmentation fault)")


@pytest.fixture
def suspect(life, monkeypatch, until):
    """A process dies with a chunk in its hands and another says hello: what the ledger says of the marked item."""

    def tell(word, told):
        asked = []

        async def ending_of(worker, incarnation):
            asked.append((worker, incarnation))
            return told

        one = life(workers=(0, 0))
        monkeypatch.setattr(one.manager.pool, "ending_of", ending_of)
        said = ("w", "i1", "default", "node", 1, __version__)
        epoch = one.link().call("hello", Hello(*said)).epoch
        batch = one.client.map(abs, range(64))
        chunk = one.link().call("exchange", Exchange("w", "i1", epoch, (), True, False)).chunk
        again = ("w", "i2", *said[2:])
        one.link().call("hello", Hello(*again, mark=(chunk.lease_id, int(chunk.indices[0])), death=word))
        reader = one.client._session.reader
        until(lambda: len(reader.read("attempts", batch_id=batch.id)) == 1)
        (row,) = reader.read("attempts", batch_id=batch.id).to_pylist()
        return row["error_type"], asked

    return tell


def test_a_process_that_its_node_had_no_memory_for_is_told_from_one_that_crashed(suspect):
    assert suspect(None, RAYS_WORDS) == ("HostOutOfMemory", [("w", "i1")])


def test_where_nobody_knows_more_it_crashed(suspect):
    assert suspect(None, None) == ("WorkerCrash", [("w", "i1")])


def test_the_word_that_the_process_left_itself_is_enough(suspect):
    assert suspect(OWN_WORD, RAYS_WORDS) == ("WorkerCrash", [])


def test_after_a_process_that_held_nothing_nobody_asks(life, monkeypatch):
    asked = []

    async def ending_of(worker, incarnation):
        asked.append(worker)

    one = life(workers=(0, 0))
    monkeypatch.setattr(one.manager.pool, "ending_of", ending_of)
    for incarnation in ("i1", "i2"):
        one.link().call("hello", Hello("w", incarnation, "default", "node", 1, __version__))
    assert asked == []
