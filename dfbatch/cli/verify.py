"""``dfbatch verify``: media in, a table of verdicts out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfbatch.cli.exit_codes import ExitCode
from dfbatch.cli.options import JsonOption, LimitOption, OutOption, StorageOption, WorkersOption
from dfbatch.cli.screen import command, print_facts, print_json, stderr, stdout

if TYPE_CHECKING:
    from dfbatch.client.batch import Batch


class Profile(StrEnum):
    """How thorough a verification is."""

    FAST = "fast"
    FULL = "full"


def verify(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, globs or URI prefixes.")],
    out: OutOption = None,
    report: Annotated[str | None, typer.Option(metavar="FILE", help="Write a self-contained HTML report.")] = None,
    profile: Annotated[Profile | None, typer.Option(help="fast hears the first 120 s of sound, full an hour.")] = None,
    workers: WorkersOption = None,
    storage: StorageOption = None,
    trust_list: Annotated[
        str | None, typer.Option(metavar="PEM", help="Certificates whose signatures are trusted.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A name for the batch.")] = None,
    limit: LimitOption = 60,
    json_: JsonOption = False,
) -> None:
    """Verify the authenticity of media files and show a verdict with its reason for each."""
    from dfbatch.cli.session import open_client, parse_workers, wait
    from dfbatch.cli.targets import check_report_target, check_table_target

    check_table_target(out)
    check_report_target(report)
    options: dict[str, Any] = {"name": name, "profile": profile.value if profile else None, "trust_list": trust_list}
    given = {key: value for key, value in options.items() if value is not None}
    parse_workers(workers)
    uris = _uris(paths)  # a slip is said at once, not when the workers have started
    stderr().print("Starting the workers ...", style="dim")
    with open_client(storage, workers) as client:
        batch = client.verify(uris, **given)
        wait(batch, storage)
        finish(batch, storage, limit, json_, out, report)


def _uris(paths: list[str]) -> list[str]:
    """What the arguments stand for; a single one must be there, of several a missing one becomes a failed row."""
    from dfbatch.client.paths import expand_argument, expand_list

    return expand_argument(paths[0], "PATH") if len(paths) == 1 else expand_list(paths, "PATH")


def finish(
    batch: Batch, storage: str | None, limit: int, json_: bool, out: str | None = None, report: str | None = None
) -> None:
    """Show an ended batch, write what was asked for, and end with the exit code of its outcomes."""
    from dfbatch.cli.tables import python_rows, results_table, rows_to_show, summary_line, tally
    from dfbatch.cli.wording import common_parent

    results = batch.results()
    table = results.to_arrow()
    failed = table["status"].unique().to_pylist() not in ([], ["succeeded"])
    written = {"ledger": str(batch.storage_path)}
    if out:
        results.write(out)
        written["results"] = out
    if report:
        batch.report(report)
        written["report"] = report
    shown = rows_to_show(table, 0 if json_ else limit)
    rows = python_rows(table, shown)
    if json_:
        status = str(batch.status)
        print_json({"batch_id": batch.id, "status": status, "tally": tally(table), "written": written, "rows": rows})
    else:
        console = stdout()
        parent = common_parent([row["uri"] for row in rows if row["uri"]])
        if parent:
            console.print(f"Files in {parent}", style="dim", markup=False, soft_wrap=True)
        console.print(results_table(rows))
        if len(shown) < len(table):
            console.print(f"... and {len(table) - len(shown):,} more; --limit 0 shows all.", style="dim")
        console.print()
        console.print(summary_line(table), style="bold", markup=False)
        print_facts(console, [("batch", batch.id), *written.items(), *_next_steps(batch, storage, failed)])
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _next_steps(batch: Batch, storage: str | None, failed: bool) -> list[tuple[str, str]]:
    """The commands that go on from a batch with failures, ready to be copied."""
    if not failed:
        return []
    where = ("--storage", storage) if storage else ()
    return [("why", command("failures", batch.id, *where)), ("again", command("retry", batch.id, *where))]
