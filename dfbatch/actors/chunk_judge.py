"""Who pays for the errors of a dependency: judged when the chunk is over.

Errors that a breaker counted are held back until then. If that breaker opened
meanwhile, the dependency is down and the items go back uncharged; if it did not,
other calls passed, so the item is charged like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.messages import Outcomes
from dfbatch.core.breaker_seen import OWN
from dfbatch.core.error_class import ErrorClass

_OF_THE_VERIFIER = (ErrorClass.TIMEOUT, ErrorClass.OUT_OF_MEMORY)
"""What the verifier's own breaker counts, beside constructions that failed."""


class ChunkJudge:
    """One chunk. ``sift`` passes its reports on, but those rows last that wait for the judgement."""

    def __init__(self, breakers: WorkerBreakers, verifier: str) -> None:
        self._breakers = breakers
        breakers.begin(verifier)
        self._before = breakers.so_far()
        self._held: list[Outcomes] = []
        self._n_early = 0

    def sift(self, reports: Iterable[Outcomes]) -> Iterator[Outcomes]:
        """Reports as they may be sent on. ``reports`` must leave out jobs that are ``held``: they come at the end."""
        n_fine = n_rows = 0
        for report in reports:
            n_early = self._take_early()
            self._watch(report, n_early)
            n_rows += len(report.indices) + n_early
            n_fine += int(np.count_nonzero(report.error_class == ErrorClass.NONE)) + n_early
            waits = _counted_rows(report)
            if not len(waits):
                yield report
                continue
            self._held.append(rows_of(report, waits))
            rest = np.setdiff1d(np.arange(len(report.indices)), waits, assume_unique=True)
            if len(rest):
                yield rows_of(report, rest)
        if n_early := self._take_early():
            self._breakers.observe(n_early, 0, "")
            self._breakers.constructed(None)
            n_rows, n_fine = n_rows + n_early, n_fine + n_early
        for report in self._held:
            yield self._judged(report)
        if n_rows and n_fine == n_rows:
            self._breakers.done_without(self._before)

    def held(self) -> npt.NDArray[np.int64]:
        """Job indices that were run and wait for the judgement: no others may report them, nor give them up."""
        return np.concatenate([np.empty(0, np.int64), *(report.indices for report in self._held)])

    def reported_early(self, n: int) -> None:
        """So many items have succeeded and were reported by another thread. They count with the next report.

        ``reports`` gives no report while that thread is at it.
        """
        self._n_early += n

    def _take_early(self) -> int:
        n_early, self._n_early = self._n_early, 0
        return n_early

    def _watch(self, report: Outcomes, n_early: int) -> None:
        """The verifier's own breaker looks on."""
        failed = np.isin(report.error_class, _OF_THE_VERIFIER)
        n_failed = int(np.count_nonzero(failed))
        text = ""
        if n_failed and report.failures is not None:
            text = str(report.failures.column("error_type")[0])
        self._breakers.observe(len(report.indices) - n_failed + n_early, n_failed, text)
        unusable = bool((report.error_class == ErrorClass.VERIFIER_UNUSABLE).any())
        messages = report.failures.column("error_message") if report.failures is not None else [""]
        self._breakers.constructed(str(messages[0]) if unusable else None)

    def _judged(self, report: Outcomes) -> Outcomes:
        """The held rows with their class; ``BREAKER_OPEN`` is not charged."""
        after = self._breakers.so_far()
        opened = {name for name, (n, _) in after.items() if n > self._before.get(name, (0, 0))[0]}
        assert report.failures is not None
        names = report.failures.column("dependency").to_pylist()
        back = np.array([bool(opened.intersection((text or OWN).split("\n"))) for text in names])
        error_class = np.where(back, np.uint8(ErrorClass.BREAKER_OPEN), report.error_class)
        return replace(report, error_class=error_class.astype(np.uint8))


def _counted_rows(report: Outcomes) -> npt.NDArray[np.int64]:
    """Rows whose error a breaker counted, sorted; not those that were refused outright."""
    failures = report.failures
    if failures is None or "dependency" not in failures.column_names:
        return np.empty(0, np.int64)
    position = failures.column("position").to_numpy()
    error_class = report.error_class[position]
    counted = failures.column("dependency").is_valid().to_numpy() | np.isin(error_class, _OF_THE_VERIFIER)
    return np.asarray(position[counted & (error_class != ErrorClass.BREAKER_OPEN)], dtype=np.int64)


def rows_of(report: Outcomes, rows: npt.NDArray[np.int64]) -> Outcomes:
    """A report of these rows alone (sorted places). Its share of ``busy_s`` is that of its rows."""
    pick = pa.array(rows)

    def part(column: Any) -> Any:
        return None if column is None else column.take(pick)

    failures = report.failures
    if failures is not None:
        place = np.full(len(report.indices), -1, np.int64)
        place[rows] = np.arange(len(rows))
        position = place[failures.column("position").to_numpy()]
        kept = failures.filter(pa.array(position >= 0))
        at = kept.schema.get_field_index("position")
        failures = kept.set_column(at, "position", pa.array(position[position >= 0])) if len(kept) else None
    total = float(report.duration_s.sum())
    share = float(report.duration_s[rows].sum()) / total if total > 0 else len(rows) / len(report.indices)
    return replace(
        report,
        indices=report.indices[rows],
        generation=report.generation[rows],
        error_class=report.error_class[rows],
        fingerprint=report.fingerprint[rows],
        started_at=report.started_at[rows],
        duration_s=report.duration_s[rows],
        busy_s=report.busy_s * share,
        uris=part(report.uris),
        report=part(report.report),
        output=part(report.output),
        failures=failures,
    )
