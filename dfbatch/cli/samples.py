"""``dfbatch samples``: media to try the verification on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dfbatch.cli.options import JsonOption


def samples(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder to write the files to; made if missing.")],
    json_: JsonOption = False,
) -> None:
    """Write sample media: genuine, forged, signed, AI-declared and broken files."""
    from dfbatch.cli.screen import command, print_facts, print_json, stderr, stdout
    from dfbatch.samples import make_samples
    from dfbatch.samples.sample import EXPECTED_JSON

    stderr().print(f"Making sample media in {folder} ...", markup=False, style="dim", soft_wrap=True)
    made = make_samples(folder)
    if json_:
        found = [asdict(sample) for sample in made]
        print_json({"folder": str(made.folder), "trust_list": str(made.trust_list), "samples": found})
        return
    console, expected = stdout(), made.folder / EXPECTED_JSON
    groups: dict[str, int] = {}
    for sample in made:
        groups[sample.group] = groups.get(sample.group, 0) + 1
    told = ", ".join(f"{number} {group}" for group, number in groups.items())
    console.print(f"{len(made)} files in {made.folder}: {told}", markup=False, soft_wrap=True)
    verify = command("verify", str(made.folder))
    trusting = command("verify", str(made.folder), "--trust-list", str(made.trust_list))
    print_facts(console, [("verify them", verify), ("trust their signer", trusting), ("what is true", str(expected))])
