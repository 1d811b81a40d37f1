"""Dead letters of a batch or a queue: failed and expired jobs that can be run again, or purged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dfbatch.client.results import ReadFile, Results
from dfbatch.client.session import Session
from dfbatch.client.story import Story
from dfbatch.errors import InvalidInput, UnknownId
from dfbatch.ledger.arrow_types import convert
from dfbatch.ledger.dead_letters import (
    KEY_COLUMNS,
    batches_with_failures,
    dead_letter_rows,
    split_by_batch,
)
from dfbatch.ledger.joining import widest
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.stories import stories, story

_JOINED = ("input", "output")


class DeadLetters(Results):
    """Results whose rows are dead letters, each with its story."""

    def __init__(self, table: pa.Table, reader: LedgerReader, *, read: ReadFile | None = None) -> None:
        super().__init__(table, read=read)
        self._reader = reader

    def story(self, which: int | str = 0) -> Story:
        """Every try of one of them, by its position here or its job id. Raises UnknownId."""
        if isinstance(which, str):
            row = next((row for row in self if row["job_id"] == which), None)
            if row is None:
                raise UnknownId(f"Job '{which}' is none of these {len(self):,} dead letters.")
        else:
            row = self[which]
        return Story(row["job_id"], tuple(story(self._reader, row["batch_id"], row["job_index"])))

    def with_stories(self) -> DeadLetters:
        """The same rows with a column ``story``: a list with a struct for every try, as in ``story(i)``."""
        if "story" in self.column_names:
            return self
        told = stories(self._reader, self._table.select(["batch_id", "job_index"]))
        return self._like(self._table.append_column("story", told))

    def _like(self, table: pa.Table) -> DeadLetters:
        return DeadLetters(table, self._reader, read=self._read)


def of_batch(session: Session, batch_id: str) -> DeadLetters:
    """The dead letters of one batch."""
    session.check_open()
    rows = dead_letter_rows(session.reader, [batch_id])
    return DeadLetters(_joined(session.reader, rows), session.reader, read=session.read_file)


def of_queue(session: Session, queue: str, where: Any = None, limit: int | None = None) -> DeadLetters:
    """Those of all batches of a queue, oldest batch first; ``where`` chooses, ``limit`` bounds. Raises InvalidInput."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidInput(
            "limit", f"{limit!r} is no number of rows", "Give a whole number at least 0, or None for all"
        )
    session.check_open()
    rows = dead_letter_rows(session.reader, batches_with_failures(session.reader, queue))
    if where is None and limit is not None:
        rows = rows.slice(0, limit)
    found = DeadLetters(_joined(session.reader, rows), session.reader, read=session.read_file)
    if where is not None:
        found = found._like(chosen(found, where).to_arrow().slice(0, limit))
    return found


def keys_of_queue(session: Session, queue: str, where: Any = None) -> pa.Table:
    """Batch, index and generation of the dead letters of a queue that ``where`` chooses, to name them by."""
    session.check_open()
    if where is None:
        batches = batches_with_failures(session.reader, queue)
        return dead_letter_rows(session.reader, batches, KEY_COLUMNS)
    return of_queue(session, queue, where).to_arrow().select(list(KEY_COLUMNS))


def chosen(results: Results, where: Any) -> Results:
    """``where`` is what ``Results.filter`` takes, or a mapping from columns to values."""
    return results.filter(**where) if isinstance(where, Mapping) else results.filter(where)


def _joined(reader: LedgerReader, rows: pa.Table) -> pa.Table:
    """Rows of several batches with ``input`` and ``output``; a batch that has none of them has nulls."""
    if not len(rows):
        return rows
    parts = [reader.joined(part, batch_id) for batch_id, part in split_by_batch(rows).items()]
    for name in _JOINED:
        kinds = [part.schema.field(name).type for part in parts if name in part.column_names]
        if kinds:
            kind = widest(kinds)
            parts = [_with(part, name, kind) for part in parts]
    order = [*rows.column_names, *(name for name in _JOINED if name in parts[0].column_names)]
    return pa.concat_tables([part.select(order) for part in parts])


def _with(part: pa.Table, name: str, kind: Any) -> pa.Table:
    if name not in part.column_names:
        return part.append_column(name, pa.nulls(len(part), kind))
    return part.set_column(part.column_names.index(name), name, convert(part.column(name), kind))
