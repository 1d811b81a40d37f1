import queue
import threading

from dfbatch.client.slice_reader import SliceReader, queue_elements


def reader(elements, **bounds):
    return SliceReader(lambda stopped: iter(elements), **{"slice_s": 100.0, **bounds})


def test_slices_end_at_so_many_items():
    assert [len(s) for s in reader(range(7), most_items=3).slices()] == [3, 3, 1]


def test_slices_end_at_so_many_bytes():
    assert [len(s) for s in reader([b"12345678"] * 5, most_bytes=16).slices()] == [2, 2, 1]


def test_an_item_too_big_for_a_slice_comes_alone():
    assert [len(s) for s in reader([b"x" * 99, b"y" * 99], most_bytes=16).slices()] == [1, 1]


def test_a_slow_source_is_not_waited_for():
    """What has come is handed out after ``slice_s``, though the source has not ended."""
    more = threading.Event()

    def slow():
        yield 1
        more.wait(100)
        yield 2

    slices = reader(slow(), slice_s=0.01)

    assert slices.take() == [1]
    more.set()
    assert slices.take() == [2]
    assert slices.take() == []


def test_an_empty_source_has_no_slice():
    assert list(reader([]).slices()) == []


def test_nothing_is_read_before_the_first_take():
    touched = []
    SliceReader(lambda stopped: iter(touched.append("read") or []))

    assert touched == []


def test_closing_ends_a_reader_that_waits():
    source = queue.Queue()
    slices = SliceReader(lambda stopped: queue_elements(source, stopped, poll_s=0.01), slice_s=0.01)
    source.put("a")
    assert slices.take() == ["a"]

    slices.close()

    assert slices.take() == []


def test_the_users_iterator_is_closed_when_the_reader_is():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    slices = reader(endless(), most_items=2)
    slices.take()
    slices.close()

    assert closed.wait(60)


class BatchQueue(queue.Queue):
    """Like Ray's queue it can give several elements in one call."""

    calls = 0

    def get_nowait_batch(self, count):
        self.calls += 1
        return [self.get_nowait() for _ in range(count)]


def test_a_queue_that_gives_several_at_once_is_asked_for_them():
    source = BatchQueue()
    for element in [*range(100), None]:
        source.put(element)

    assert list(queue_elements(source, lambda: False)) == list(range(100))
    assert source.calls == 1


def test_a_queue_that_another_consumer_emptied_is_asked_again():
    class Contested(BatchQueue):
        def get_nowait_batch(self, count):
            raise queue.Empty

    source = Contested()
    for element in ("a", "b", None):
        source.put(element)

    assert list(queue_elements(source, lambda: False)) == ["a", "b"]


def test_a_stopped_queue_is_not_read():
    source = queue.Queue()
    source.put("a")

    assert list(queue_elements(source, lambda: True)) == []
    assert source.qsize() == 1
