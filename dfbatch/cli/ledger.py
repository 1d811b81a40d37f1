"""``dfbatch ledger``: the files behind the results, for other tools."""

from __future__ import annotations

import typer

from dfbatch.cli.options import BatchArgument, JsonOption, StorageOption

app = typer.Typer(help="Look at the ledger: Delta tables that any tool can read.", no_args_is_help=True)


@app.callback()
def about() -> None:
    """Look at the ledger: Delta tables that any tool can read."""


@app.command()
def files(batch: BatchArgument, storage: StorageOption = None, json_: JsonOption = False) -> None:
    """List the Parquet files that hold the rows of a batch."""
    from dfbatch.cli.reading import open_reader, require_batch
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.cli.wording import size_words

    reader, root = open_reader(storage)
    batch_id, _ = require_batch(reader, batch)
    found = reader.files(batch_id)
    if json_:
        print_json({"batch_id": batch_id, "storage": root, "files": found})
        return
    console = stdout()
    console.print(f"{root}", markup=False, soft_wrap=True)
    for file in found:
        told = f"{file['batch_rows']:,} of {file['rows']:,} rows, {size_words(file['size'])}"
        console.print(f"  {file['path']}  {told}", markup=False, soft_wrap=True)
