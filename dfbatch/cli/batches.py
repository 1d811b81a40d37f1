"""``dfbatch batches | results | failures | retry``: what was submitted and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfbatch.cli.options import BatchArgument, JsonOption, LimitOption, OutOption, StorageOption, WorkersOption

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_COLUMNS = ("batch_id", "name", "status", "kind", "n_jobs", "queue", "priority", "submitted_at", "finished_at")


def batches(storage: StorageOption = None, limit: LimitOption = 40, json_: JsonOption = False) -> None:
    """List the batches of a ledger, newest first."""
    from dfbatch.cli.reading import batch_rows, open_reader
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.cli.tables import batches_table

    reader, root = open_reader(storage)
    rows = batch_rows(reader)[::-1]
    if json_:
        print_json({"storage": root, "batches": [{name: row[name] for name in _BATCH_COLUMNS} for row in rows]})
        return
    console = stdout()
    if not rows:
        console.print(f"No batches in {root} yet. Submit one: dfbatch verify PATH", markup=False, soft_wrap=True)
        return
    shown = rows[:limit] if limit else rows
    console.print(batches_table(shown))
    if len(shown) < len(rows):
        console.print(f"... and {len(rows) - len(shown):,} older ones; --limit 0 shows all.", style="dim")


def results(
    batch: BatchArgument,
    out: OutOption = None,
    storage: StorageOption = None,
    limit: LimitOption = 40,
    json_: JsonOption = False,
) -> None:
    """Show what is recorded of a batch or job, or write it to a file; works while the batch runs."""
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.cli.tables import python_rows, results_table, rows_to_show, summary_line
    from dfbatch.cli.targets import check_table_target
    from dfbatch.client.results_write import write_table

    check_table_target(out)
    table = _recorded(batch, storage)
    if out:
        out = write_table(table, out)
    if json_:
        print_json(table.to_pylist())
        return
    console = stdout()
    if out:
        console.print(f"{len(table):,} rows written to {out}", markup=False, soft_wrap=True)
        return
    shown = rows_to_show(table, limit)
    console.print(results_table(python_rows(table, shown)))
    if len(shown) < len(table):
        console.print(f"... and {len(table) - len(shown):,} more; --limit 0 or --out FILE gives all.", style="dim")
    console.print()
    console.print(summary_line(table), style="bold", markup=False)


def failures(
    batch: BatchArgument, storage: StorageOption = None, limit: LimitOption = 40, json_: JsonOption = False
) -> None:
    """Show the failed and expired items of a batch, with their errors."""
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.cli.tables import failures_table, python_rows
    from dfbatch.client.failures import failed_mask, group_failures

    table = _recorded(batch, storage)
    table = table.filter(failed_mask(table))
    if json_:
        print_json(table.to_pylist())
        return
    console = stdout()
    if not len(table):
        console.print(f"Nothing failed in {batch}.", markup=False)
        return
    shown = list(range(len(table)))[: limit or None]
    console.print(failures_table(python_rows(table, shown)))
    if len(shown) < len(table):
        console.print(f"... and {len(table) - len(shown):,} more; --limit 0 shows all.", style="dim")
    kinds = ", ".join(f"{group.n:,} x {group.error_type}" for group in group_failures(table))
    console.print()
    console.print(kinds, style="bold", markup=False)


def retry(
    batch: BatchArgument,
    workers: WorkersOption = None,
    storage: StorageOption = None,
    limit: LimitOption = 40,
    json_: JsonOption = False,
) -> None:
    """Run the failed items of a batch again and show the batch afterwards."""
    from dfbatch.cli.session import open_client, wait
    from dfbatch.cli.verify import finish
    from dfbatch.client.batch import Batch
    from dfbatch.core.ids import parse_id

    batch_id, _ = parse_id(batch)
    with open_client(storage, workers) as client:
        found = client.attach(batch_id)
        assert isinstance(found, Batch)
        found.retry_failed()
        wait(found, storage)
        finish(found, storage, limit, json_)


def _recorded(text: str, storage: str | None) -> pa.Table:
    """The newest outcomes of a batch, or the one of a job."""
    import pyarrow.compute as pc

    from dfbatch.cli.reading import open_reader, require_batch

    reader, _ = open_reader(storage)
    batch_id, index = require_batch(reader, text)
    table = reader.results(batch_id)
    return table if index is None else table.filter(pc.equal(table["job_index"], index))
