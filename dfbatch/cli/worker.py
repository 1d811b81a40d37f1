"""``dfbatch worker``: a standalone worker process for a manager that runs on a cluster."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Annotated

import typer

from dfbatch.cli.exit_codes import ExitCode
from dfbatch.cli.options import StorageOption
from dfbatch.errors import InvalidInput, ManagerUnavailable

if TYPE_CHECKING:
    from dfbatch.actors.standalone_plan import StandalonePlan
    from dfbatch.config import Settings

_MOST_PROCESSES = 1_024
_LONGEST_NAME = 64


def worker(
    queues: Annotated[
        str | None, typer.Option("--queues", metavar="A,B", help="Serve only these queues. (default: all)")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=_MOST_PROCESSES, metavar="N", help="Worker processes.")
    ] = 1,
    storage: StorageOption = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Ray cluster. (default: RAY_ADDRESS, else the manager's)"),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Ray namespace. (default: the manager's)")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A name that stays. (default: host and process id)")
    ] = None,
    grace_s: Annotated[
        float, typer.Option("--grace-s", min=0.0, metavar="S", help="Seconds that a drain may take.")
    ] = 30.0,
    idle_s: Annotated[
        float | None, typer.Option("--idle-s", min=0.0, metavar="S", help="Leave after so long with nothing to do.")
    ] = None,
    health_file: Annotated[
        str | None, typer.Option("--health-file", metavar="FILE", help="Write the health there every second, as JSON.")
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option("--health-port", min=0, max=65535, metavar="P", help="Answer GET /livez and /readyz; 0: any."),
    ] = None,
    health_host: Annotated[
        str, typer.Option("--health-host", metavar="HOST", help="Address of that port.")
    ] = "127.0.0.1",
    log_format: Annotated[str, typer.Option("--log-format", metavar="text|json", help="Lines on stderr.")] = "text",
    check: Annotated[
        str | None, typer.Option("--check", metavar="FILE", help="Readiness probe: exit code 0 if that worker leases.")
    ] = None,
    check_live: Annotated[
        str | None, typer.Option("--check-live", metavar="FILE", help="Liveness probe: 0 if that worker lives.")
    ] = None,
) -> None:
    """Work for a manager that runs on a Ray cluster, in processes of your own.

    SIGTERM and Ctrl-C drain it: the item at hand is finished, the rest goes back, and the exit code is 0.

    A second signal hands everything back and ends at once. Processes that crash are replaced.
    """
    if check is not None or check_live is not None:
        _probe(check, check_live)
        return
    from dfbatch.actors.standalone_plan import StandalonePlan
    from dfbatch.config import resolve

    for option, value in (("--grace-s", grace_s), ("--idle-s", idle_s)):
        if value is not None and not math.isfinite(value):
            raise InvalidInput(option, f"{value} is no number of seconds", "Give a number like 30")
    settings = resolve(storage_path=storage, namespace=namespace, address=address)
    plan = StandalonePlan(
        storage_path=settings.storage_path,
        namespace=settings.namespace,
        address=settings.address or "",
        concurrency=concurrency,
        queues=_queues(queues),
        name=_name(name),
        grace_s=grace_s,
        idle_s=idle_s,
        health_file=health_file,
        health_host=health_host,
        health_port=health_port,
        log_format=_log_format(log_format),
        # A process that runs for weeks should say what it does, unless somebody asked for less.
        log_level="INFO" if settings.origins["log_level"] == "default" else settings.log_level,
    )
    plan = _placed(plan, settings)
    from dfbatch.actors.log_format import log_handler
    from dfbatch.actors.standalone import StandaloneWorker

    logging.basicConfig(level=plan.log_level, handlers=[log_handler(plan.log_format)])

    raise typer.Exit(StandaloneWorker(plan).run())


def _placed(plan: StandalonePlan, settings: Settings) -> StandalonePlan:
    """With the cluster and the namespace of the ledger's manager where none was given. Raises ManagerUnavailable."""
    from dataclasses import replace

    from dfbatch.ledger.lock import read_manager_info
    from dfbatch.ledger.storage import open_storage

    storage = open_storage(plan.storage_path)
    info = read_manager_info(storage)
    if info is not None and settings.origins["namespace"] == "default":
        plan = replace(plan, namespace=info.namespace)
    if plan.address:
        return plan
    if info is None:
        raise ManagerUnavailable(
            f"No manager is known for the ledger under {storage.root}. Connect to a Ray cluster with "
            f"dfbatch.connect(address=..., storage_path=...) first, then start workers; or correct --storage."
        )
    if info.mode in ("embedded", "in_process"):
        raise ManagerUnavailable(
            f"The ledger under {storage.root} belongs to process {info.owner_pid or info.pid} on {info.host}, which "
            f"has a private Ray that standalone workers cannot join. Give that process more workers, or work on a "
            f"cluster: dfbatch.connect(address=...)."
        )
    return replace(plan, address=info.address)


def _probe(ready_file: str | None, live_file: str | None) -> None:
    from dfbatch.actors.probes import check_health

    for path, what in ((live_file, "live"), (ready_file, "ready")):
        problem = None if path is None else check_health(path, what)
        if problem is not None:
            typer.echo(f"dfbatch: {problem}", err=True)
            raise typer.Exit(ExitCode.SOME_FAILED)


def _queues(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from dfbatch.client.options import queue_name

    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise InvalidInput("--queues", f"{text!r} has a name that is empty", "Give names like verification,profiles")
    return tuple(dict.fromkeys(queue_name(name) for name in names))


def _name(text: str | None) -> str | None:
    """It becomes the name of a file."""
    if text is not None and not (0 < len(text) <= _LONGEST_NAME and text.replace("-", "").replace(".", "").isalnum()):
        problem = f"{text!r} is no usable name"
        raise InvalidInput("--name", problem, f"Use at most {_LONGEST_NAME} letters, digits, '-' and '.'")
    return text


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise InvalidInput("--log-format", f"{text!r} is not known", "Give text or json")
    return text
