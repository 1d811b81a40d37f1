"""The story of one job: every try of it, worker by worker, error by error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dfbatch.client.html_text import esc, moment, seconds
from dfbatch.ledger.stories import CHAPTER

_WORDS = {"retried": "failed, tried again", "returned": "sent back by a breaker", "suspected": "its worker died"}


@dataclass(frozen=True)
class Story:
    """Every try of a job, oldest first, as dicts; ``print`` it to read it.

    Keys: ``generation, attempt, outcome, error_class, error_type, error_message, traceback, worker_deaths,
    worker_id, node, started_at, finished_at, retry_at``. ``outcome`` is ``retried``, ``returned`` (by an open
    breaker), ``suspected`` (its worker died), or how the generation ended: ``succeeded, failed, cancelled, expired``.
    """

    job_id: str
    chapters: tuple[dict[str, Any], ...]

    def to_arrow(self) -> pa.Table:
        """A row a try."""
        return pa.Table.from_pylist(list(self.chapters), schema=pa.schema(list(CHAPTER)))

    def __len__(self) -> int:
        return len(self.chapters)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.chapters)

    def __getitem__(self, key: int) -> dict[str, Any]:
        return self.chapters[key]

    def __str__(self) -> str:
        if not self.chapters:
            return f"Job {self.job_id} has no story yet: nothing of it is in the ledger."
        lines, generation = [f"Job {self.job_id}"], None
        for chapter in self.chapters:
            if chapter["generation"] != generation:
                generation = chapter["generation"]
                lines.append(f"  generation {generation}" + (" (run again)" if generation else ""))
            lines.append(f"    {_line(chapter)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        last = self.chapters[-1]["outcome"] if self.chapters else "nothing yet"
        return f"<Story of {self.job_id}: {len(self)} {'entry' if len(self) == 1 else 'entries'}, {last}>"

    def _repr_html_(self) -> str:
        return f'<pre style="font-size:12px;white-space:pre-wrap">{esc(str(self))}</pre>'


def _line(chapter: dict[str, Any]) -> str:
    begun, ended = chapter["started_at"], chapter["finished_at"]
    parts = [moment(begun or ended)]
    if begun is not None and ended is not None:
        parts.append(seconds((ended - begun).total_seconds()))
    if chapter["attempt"]:
        parts.append(f"try {chapter['attempt']}")
    if chapter["worker_id"]:
        parts.append(f"on {chapter['worker_id']}")
    outcome = _WORDS.get(chapter["outcome"], chapter["outcome"])
    if chapter["retry_at"] is not None:
        outcome += f" at {moment(chapter['retry_at'])}"
    text = f"{', '.join(part for part in parts if part)}: {outcome}"
    if chapter["error_type"] or chapter["error_message"]:
        text += f" ({': '.join(part for part in (chapter['error_type'], chapter['error_message']) if part)})"
    return text
