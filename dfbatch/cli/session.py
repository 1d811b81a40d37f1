"""A client for the length of one command."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import typer

from dfbatch.cli.exit_codes import ExitCode
from dfbatch.cli.screen import command
from dfbatch.errors import InvalidInput

if TYPE_CHECKING:
    from dfbatch.client.batch import Batch
    from dfbatch.client.client import Client


def open_client(storage: str | None, workers: str | None) -> Client:
    """Connect as the options say; what is not given comes from the environment."""
    asked = parse_workers(workers)
    from dfbatch.client.client import connect
    from dfbatch.client.connecting import ReadOnlyWarning

    with warnings.catch_warnings():
        # What needs the manager says so itself, in one sentence.
        warnings.simplefilter("ignore", ReadOnlyWarning)
        return connect(storage_path=storage, workers=asked)


def parse_workers(text: str | None) -> int | tuple[int, int] | None:
    """What ``--workers`` says. Raises InvalidInput."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    match numbers:
        case [most]:
            return most
        case [least, most]:
            return least, most
        case _:
            raise InvalidInput(
                "--workers", f"{text!r} is no number of workers", "Give 4, or the least and the most: 1,8"
            )


def wait(batch: Batch, storage: str | None) -> None:
    """Wait with progress on stderr. Ctrl-C ends the command and tells what becomes of the batch."""
    try:
        batch.wait()
    except KeyboardInterrupt:
        where = ("--storage", storage) if storage else ()
        typer.echo(f"Finished so far: {command('results', batch.id, *where)}", err=True)
        typer.echo("If this command ran the work, the rest waits: dfbatch.connect(resume=True) goes on.", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
