"""The options of ``dfbatch worker``."""

from __future__ import annotations

from typing import Annotated

import typer

_MOST_PROCESSES = 1_024

QueuesOption = Annotated[
    str | None, typer.Option("--queues", metavar="A,B", help="Serve only these queues. (default: all)")
]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", min=1, max=_MOST_PROCESSES, metavar="N", help="Worker processes.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Ray cluster. (default: RAY_ADDRESS, else the manager's)"),
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="Ray namespace. (default: the manager's)")
]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="A name that stays. (default: host and process id)")
]
CpusOption = Annotated[
    float, typer.Option("--num-cpus", min=0.0, metavar="N", help="Serve verifiers that declare so many.")
]
GpusOption = Annotated[
    float, typer.Option("--num-gpus", min=0.0, metavar="N", help="Serve verifiers that declare so many.")
]
GraceOption = Annotated[float, typer.Option("--grace-s", min=0.0, metavar="S", help="Seconds that a drain may take.")]
IdleOption = Annotated[
    float | None, typer.Option("--idle-s", min=0.0, metavar="S", help="Leave after so long with nothing to do.")
]
HealthFileOption = Annotated[
    str | None, typer.Option("--health-file", metavar="FILE", help="Write the health there every second, as JSON.")
]
HealthPortOption = Annotated[
    int | None,
    typer.Option("--health-port", min=0, max=65535, metavar="P", help="Answer GET /livez and /readyz; 0: any port."),
]
HealthHostOption = Annotated[str, typer.Option("--health-host", metavar="HOST", help="Address of that port.")]
LogFormatOption = Annotated[str, typer.Option("--log-format", metavar="text|json", help="Lines on stderr.")]
CheckOption = Annotated[
    str | None,
    typer.Option("--check", metavar="FILE", help="Readiness probe: 0 if the worker with that health file leases."),
]
CheckLiveOption = Annotated[
    str | None, typer.Option("--check-live", metavar="FILE", help="Liveness probe: 0 if that worker lives.")
]
