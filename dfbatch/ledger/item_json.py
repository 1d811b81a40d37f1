"""One item as JSON text and back, for items that do not fit into one Arrow column.

Plain values are plain JSON, so that the ledger can be read without dfbatch. What JSON has no word for is an object
with one key that begins with ``$``: ``$float`` (nan, inf), ``$bytes`` and ``$array`` (base64), ``$datetime`` and
``$dict`` (pairs, for keys that are no text or begin with ``$``).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from dfbatch.errors import InvalidType

ALLOWED = "None, bool, int, float, str, bytes, datetime, list, dict or a numeric array"
_SCALARS = frozenset({type(None), bool, int, str})


def to_text(item: Any, where: str) -> str:
    """The item as JSON text. Raises InvalidType, with ``where`` as its argument, if it cannot be carried."""
    try:
        if type(item) in _SCALARS:
            return json.dumps(item)
        return json.dumps(_plain(item, where), separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise InvalidType(where, "is nested too deeply, or holds itself", "Flatten it") from None
    except ValueError as error:
        if isinstance(error, InvalidType):
            raise
        raise InvalidType(where, f"cannot be written down ({error})") from None


def from_text(text: str) -> Any:
    """The item that ``to_text`` wrote."""
    return json.loads(text, object_hook=_restore) if "{" in text else json.loads(text)


def _plain(value: Any, where: str) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    encode = _ENCODERS.get(kind)
    if encode is not None:
        return encode(value, where)
    for base, encode in _ENCODERS.items():
        if isinstance(value, base):
            return encode(value, where)
    for base, number in ((bool, bool), (np.bool_, bool), (int, int), (np.integer, int), (str, str.__str__)):
        if isinstance(value, base):
            return number(value)
    if isinstance(value, np.floating):
        return _float(float(value), where)
    raise InvalidType(where, f"is, or holds, a value of type {_name(kind)}, which cannot be carried", f"Give {ALLOWED}")


def _float(value: float, where: str) -> Any:
    return float(value) if math.isfinite(value) else {"$float": repr(float(value))}


def _bytes(value: Any, where: str) -> Any:
    return {"$bytes": base64.b64encode(value).decode()}


def _datetime(value: datetime, where: str) -> Any:
    if value != value:  # pandas.NaT is a datetime that is not itself
        return None
    moment = value.isoformat()
    zone = getattr(value.tzinfo, "key", None) or getattr(value.tzinfo, "zone", None)
    return {"$datetime": [moment, zone]} if isinstance(zone, str) else {"$datetime": [moment]}


def _list(value: Any, where: str) -> Any:
    return [_plain(part, where) for part in value]


def _dict(value: dict[Any, Any], where: str) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _plain(part, where) for key, part in value.items()}
    return {"$dict": [[_plain(key, where), _plain(part, where)] for key, part in value.items()]}


def _array(value: Any, where: str) -> Any:
    dtype = array_dtype(value, where)
    data = np.ascontiguousarray(value).astype(dtype, copy=False)
    return {"$array": base64.b64encode(data.tobytes()).decode(), "dtype": dtype.str, "shape": list(value.shape)}


def array_dtype(value: Any, where: str) -> np.dtype[Any]:
    """The dtype of an array in little-endian order. Raises InvalidType if it does not hold numbers."""
    if value.dtype.kind not in "biufc":
        raise InvalidType(where, f"is an array of {value.dtype}, not of numbers", "Give a list instead")
    dtype: np.dtype[Any] = np.dtype(value.dtype).newbyteorder("<")
    return dtype


_ENCODERS: dict[type, Callable[[Any, str], Any]] = {
    float: _float,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    datetime: _datetime,
    list: _list,
    tuple: _list,
    dict: _dict,
    np.ndarray: _array,
}


def _restore(found: dict[str, Any]) -> Any:
    key = next(iter(found), "")
    if not key.startswith("$"):
        return found
    value = found[key]
    if key == "$float":
        return float(value)
    if key == "$bytes":
        return base64.b64decode(value)
    if key == "$datetime":
        return _restore_datetime(*value)
    if key == "$dict":
        return {_hashable(k): v for k, v in value}
    data = np.frombuffer(base64.b64decode(value), dtype=np.dtype(found["dtype"]))
    return data.reshape(found["shape"]).copy()


def _restore_datetime(moment: str, zone: str | None = None) -> datetime:
    value = datetime.fromisoformat(moment)
    if zone is None or value.tzinfo is None:
        return value
    try:
        return value.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return value  # the worker's machine lacks the zone; the instant and its offset are kept


def _hashable(key: Any) -> Any:
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
