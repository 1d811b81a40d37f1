"""``dfbatch samples``: media to try the verification on."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from dfbatch.cli.options import JsonOption


def samples(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder to write the files to; made if missing.")],
    json_: JsonOption = False,
) -> None:
    """Write sample media: genuine, forged, signed, AI-declared and broken files."""
    from dfbatch.cli.screen import print_json, stderr, stdout
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
    command = f"dfbatch verify {shlex.quote(str(made.folder))}"
    trusting = f"{command} --trust-list {shlex.quote(str(made.trust_list))}"
    for name, line in (("verify them", command), ("and trust their signer", trusting), ("what is true", expected)):
        console.print(f"{name:<23} {line}", markup=False, soft_wrap=True)
