import json
import math
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from dfbatch.errors import InvalidType
from dfbatch.ledger.item_json import from_text, to_text


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


def test_plain_values_are_plain_json():
    assert json.loads(to_text({"a": [1, "x", None, True, 2.5]}, "items[0]")) == {"a": [1, "x", None, True, 2.5]}


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff",
        2**200,
        "\ud800",  # half of a surrogate pair, as in file names of odd bytes
        {"$bytes": "not mine"},
        {1: "a", None: "b", (1, 2): "c"},
        {},
        [[], [[]]],
        datetime.fromisoformat("2024-02-29T01:02:03.000004"),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        math.inf,
        -math.inf,
        {"deep": [{"at": datetime.fromisoformat("2024-01-01"), "raw": b"x"}]},
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was(value):
    back = from_text(to_text(value, "items[0]"))

    assert back == value
    assert type(back) is type(value)


def test_a_datetime_keeps_its_zone_and_not_only_its_instant():
    moment = datetime(2024, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo"))

    assert from_text(to_text(moment, "x")).tzinfo == ZoneInfo("Asia/Tokyo")


def test_nan_comes_back_as_nan():
    assert math.isnan(from_text(to_text(math.nan, "x")))


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "f2", "c16", "?"])
def test_an_array_keeps_its_shape_values_and_kind(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)

    back = from_text(to_text(array, "x"))

    assert back.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(back, array)
    back[0, 0] = 1  # a verifier may write into its item


@pytest.mark.parametrize(
    ("given", "back"),
    [
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (np.float32(0.5), 0.5),
        (np.int16(7), 7),
        (np.bool_(True), True),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
    ],
    ids=repr,
)
def test_subclasses_and_scalars_become_the_value_they_stand_for(given, back):
    found = from_text(to_text(given, "x"))

    assert found == back
    assert type(found) is type(back)


@pytest.mark.parametrize("value", [object(), {1, 2}, [object()], {"a": print}, np.array(["a"]), 1j], ids=repr)
def test_what_cannot_be_carried_is_named(value):
    with pytest.raises(InvalidType, match=r"^items\[7\]: "):
        to_text(value, "items[7]")


def test_a_list_that_holds_itself_is_refused():
    knot = []
    knot.append(knot)

    with pytest.raises(InvalidType, match="nested too deeply"):
        to_text(knot, "items[0]")
