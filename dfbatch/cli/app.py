"""The ``dfbatch`` command: its commands, ``--version``, and how errors become exit codes."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from dfbatch.cli import batches, doctor, ledger, metrics, samples, verify, worker
from dfbatch.cli.exit_codes import OneSentenceErrors
from dfbatch.version import __version__

_EPILOG = "Exit codes: 0 all succeeded, 1 some items failed, 2 wrong usage, 3 could not run."

app = typer.Typer(
    name="dfbatch",
    cls=OneSentenceErrors,
    help="Verify the authenticity of images, video, audio and PDF files in batches.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="verify")(verify.verify)
app.command(name="samples")(samples.samples)
app.command(name="batches")(batches.batches)
app.command(name="results")(batches.results)
app.command(name="failures")(batches.failures)
app.command(name="retry")(batches.retry)
app.add_typer(ledger.app, name="ledger")
app.command(name="metrics")(metrics.metrics)
app.command(name="worker")(worker.worker)
app.command(name="doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfbatch {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Verify the authenticity of images, video, audio and PDF files in batches."""


def main() -> None:
    """Entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows '?' for a sign instead of ending the command.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app(prog_name="dfbatch")
