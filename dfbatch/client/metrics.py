"""``client.metrics()`` and ``client.workers()``: what the manager sampled of itself, and who works for it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.client.session import Session
from dfbatch.errors import InvalidInput
from dfbatch.ledger.columns import take_rows
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import INSTANT, METRICS

_KEY = ("at", "queue", "epoch")
_HINT = "Give an aware datetime, a timedelta, or seconds before now: since=3600"


def metrics(session: Session, since: Any = None) -> pa.Table:
    """Samples that the ledger has and, of a client that has a manager, those on their way and the present moment."""
    session.check_open()
    begin = since_when(since, datetime.now(UTC))
    # Asked first: what is saved meanwhile is then in both, and never in neither.
    live = None if session.link is None else session.call("metrics")
    saved = saved_samples(session.reader, begin)
    return saved if live is None else each_once(saved, _since(live, begin))


def workers(session: Session) -> list[dict[str, Any]]:
    """A row a worker, as the manager knows it. ``current_since``: when the item at hand was begun, or None."""
    rows: list[dict[str, Any]] = session.call("workers")
    for row in rows:
        since = row["current_since"]
        row["current_since"] = None if since is None else datetime.fromtimestamp(since, UTC)
    return rows


def saved_samples(reader: LedgerReader, begin: datetime | None) -> pa.Table:
    """The samples in the ledger from ``begin`` on, in order of time; none if it has never had any."""
    if reader.snapshot("metrics") is None:
        return METRICS.arrow.empty_table()
    where = None if begin is None else pc.field("at") >= pa.scalar(begin, INSTANT)
    return each_once(reader.read("metrics", expression=where), METRICS.arrow.empty_table())


def since_when(since: Any, now: datetime) -> datetime | None:
    """The instant that ``since`` means: an aware datetime, or how long before ``now``. Raises InvalidInput."""
    if since is None:
        return None
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise InvalidInput("since", f"{since} has no time zone", _HINT)
        return since
    if isinstance(since, timedelta):
        since = since.total_seconds()
    if isinstance(since, bool) or not isinstance(since, int | float) or not math.isfinite(since) or since < 0:
        raise InvalidInput("since", f"{since!r} is no time that has passed", _HINT)
    try:
        return now - timedelta(seconds=float(since))
    except OverflowError:
        return None  # longer ago than there are dates: everything


def _since(samples: pa.Table, begin: datetime | None) -> pa.Table:
    return samples if begin is None else samples.filter(pc.field("at") >= pa.scalar(begin, INSTANT))


def each_once(saved: pa.Table, live: pa.Table) -> pa.Table:
    """Each sample once, by time and queue. One that was refused may be there twice: it had been written after all."""
    both = pa.concat_tables([saved, live])
    if not len(both):
        return both
    place = both.append_column("row", pa.array(np.arange(len(both))))
    first = place.group_by(list(_KEY)).aggregate([("row", "min")])
    order = first.sort_by([("at", "ascending"), ("epoch", "ascending"), ("queue", "ascending")])
    return take_rows(both, order.column("row_min").to_numpy())
