import itertools
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dfbatch.client.item_sources import item_payload
from dfbatch.client.sources import Payload, Stream
from dfbatch.errors import InvalidInput, InvalidType
from dfbatch.ledger.item_codec import items_from_table


def elements(payload):
    return items_from_table(payload.inputs, payload.items)


class FakeDataset:
    """Has the shape by which a Ray Dataset is told: its module and ``iter_batches``."""

    def __init__(self, *tables):
        self.tables = tables

    def iter_batches(self, *, batch_size, batch_format):
        assert (batch_size, batch_format) == (None, "pyarrow")
        return iter(self.tables)


FakeDataset.__module__ = "ray.data.dataset"


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([1, "a", None, 2.5], [1, "a", None, 2.5]),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pl.Series([1, 2]), [1, 2]),
        (pa.array([1, None]), [1, None]),
        ({"a": 1, "b": 2}.keys(), ["a", "b"]),
    ],
    ids=str,
)
def test_a_list_or_array_gives_one_item_an_element(items, found):
    payload = item_payload(items)

    assert isinstance(payload, Payload)
    assert payload.items == "value"
    assert payload.n == len(found)
    assert elements(payload) == found


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"item": [1, 2], "b": ["x", None]}),
        pl.DataFrame({"item": [1, 2], "b": ["x", None]}),
        pa.table({"item": [1, 2], "b": ["x", None]}),
    ],
    ids=["pandas", "polars", "arrow"],
)
def test_a_table_gives_one_dict_a_row_even_if_a_column_is_called_item(table):
    payload = item_payload(table)

    assert payload.items == "row"
    assert elements(payload) == [{"item": 1, "b": "x"}, {"item": 2, "b": None}]


@pytest.mark.parametrize(
    ("items", "error", "problem"),
    [
        ([], InvalidInput, "holds no item"),
        (range(0), InvalidInput, "holds no item"),
        (np.array(5), InvalidInput, "holds no item"),
        (pd.DataFrame({"a": []}), InvalidInput, "without rows"),
        ("abc", InvalidType, "is one str"),
        (b"abc", InvalidType, "is one bytes"),
        ({"a": 1}, InvalidType, "is one dict"),
        (5, InvalidType, "of type int"),
        ([1, object()], InvalidType, r"items\[1\].*object"),
    ],
    ids=str,
)
def test_wrong_items_are_refused_at_the_call(items, error, problem):
    with pytest.raises(error, match=problem):
        item_payload(items)


def test_verify_batch_needs_items_of_one_type():
    assert item_payload([1, 2.5], columnar=True).inputs.to_pydict() == {"item": [1.0, 2.5]}
    with pytest.raises(InvalidType, match=r"items\[1\]: is str, but items\[0\] is int"):
        item_payload([1, "a"], columnar=True)


class TestStreams:
    def test_an_iterator_comes_in_slices_of_one_schema(self):
        stream = item_payload(iter([*range(10_000), "odd", *range(5)]))

        payloads = list(stream)

        assert isinstance(stream, Stream)
        assert stream.items == "value"
        assert len({p.inputs.schema for p in payloads}) == 1
        assert [e for p in payloads for e in elements(p)] == [*range(10_000), "odd", *range(5)]

    def test_an_endless_iterator_is_read_one_slice_ahead_at_most_and_stops_when_closed(self):
        taken = []
        stream = item_payload(taken.append(i) or i for i in itertools.count())

        with stream:
            first = next(stream)

        assert first.n <= 10_000
        for thread in threading.enumerate():
            if thread.name == "dfbatch-stream":
                thread.join(60)
        assert len(taken) <= 20_002

    def test_an_error_of_the_iterator_comes_after_what_it_gave_before(self):
        def broken():
            yield 1
            raise ZeroDivisionError("lost")

        stream = item_payload(broken())

        assert elements(next(stream)) == [1]
        with pytest.raises(ZeroDivisionError, match="lost"):
            next(stream)

    def test_a_dataset_is_streamed_block_by_block_as_rows(self):
        stream = item_payload(FakeDataset(pa.table({"id": [1]}), pa.table({"id": [2, 3]})))

        payloads = list(stream)

        assert stream.items == "row"
        assert [elements(p) for p in payloads] == [[{"id": 1}], [{"id": 2}, {"id": 3}]]

    def test_a_closed_stream_of_blocks_gives_nothing_more(self):
        stream = item_payload(FakeDataset(pa.table({"id": [1]}), pa.table({"id": [2]})))
        next(stream)

        stream.close()

        assert list(stream) == []

    def test_big_blocks_are_cut(self):
        payloads = list(item_payload(FakeDataset(pa.table({"id": range(25_000)}))))

        assert [p.n for p in payloads] == [10_000, 10_000, 5_000]

    def test_blocks_of_wider_types_are_cast_to_the_first(self):
        blocks = FakeDataset(pa.table({"a": pa.array([1], pa.int64())}), pa.table({"a": pa.array([2], pa.int32())}))

        assert [elements(p) for p in item_payload(blocks)] == [[{"a": 1}], [{"a": 2}]]

    @pytest.mark.parametrize(
        ("second", "problem"),
        [({"b": [1]}, "column 'a' in some"), ({"a": ["x"]}, "column 'a' begins as int64 and goes on as string")],
    )
    def test_blocks_that_differ_name_the_column(self, second, problem):
        stream = item_payload(FakeDataset(pa.table({"a": [1]}), pa.table(second)))
        next(stream)

        with pytest.raises(InvalidInput, match=problem):
            next(stream)
