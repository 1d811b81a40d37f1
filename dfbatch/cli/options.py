"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

StorageOption = Annotated[
    str | None,
    typer.Option("--storage", metavar="DIR", help="Ledger: folder or s3://, gs:// URI. (default: ~/dfbatch_results)"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout; progress and notes go to stderr.")]
OutOption = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help="Write all columns to a .parquet, .csv or .jsonl file."),
]
WorkersOption = Annotated[
    str | None, typer.Option("--workers", metavar="N", help="Number of workers, or the least and the most: 1,8.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Rows to show; 0 shows all.")]
BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="Batch or job id, such as k3f2m9qx or k3f2m9qx-17.")]
