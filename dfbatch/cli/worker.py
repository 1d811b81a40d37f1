"""``dfbatch worker``: a standalone worker process for a manager that runs on a cluster."""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING

import typer

from dfbatch.cli.exit_codes import ExitCode
from dfbatch.cli.options import StorageOption
from dfbatch.cli.worker_options import (
    AddressOption,
    CheckLiveOption,
    CheckOption,
    ConcurrencyOption,
    CpusOption,
    GpusOption,
    GraceOption,
    HealthFileOption,
    HealthHostOption,
    HealthPortOption,
    IdleOption,
    LogFormatOption,
    NameOption,
    NamespaceOption,
    QueuesOption,
)
from dfbatch.errors import InvalidInput, ManagerUnavailable

if TYPE_CHECKING:
    from dfbatch.actors.standalone_plan import StandalonePlan
    from dfbatch.config import Settings

_LONGEST_NAME = 64


def worker(
    queues: QueuesOption = None,
    concurrency: ConcurrencyOption = 1,
    storage: StorageOption = None,
    address: AddressOption = None,
    namespace: NamespaceOption = None,
    name: NameOption = None,
    num_cpus: CpusOption = 1.0,
    num_gpus: GpusOption = 0.0,
    grace_s: GraceOption = 30.0,
    idle_s: IdleOption = None,
    health_file: HealthFileOption = None,
    health_port: HealthPortOption = None,
    health_host: HealthHostOption = "127.0.0.1",
    log_format: LogFormatOption = "text",
    check: CheckOption = None,
    check_live: CheckLiveOption = None,
) -> None:
    """Work for a manager that runs on a Ray cluster, in processes of your own.

    SIGTERM and Ctrl-C drain it: the item at hand is finished, the rest goes back, and the exit code is 0.

    A second signal hands everything back and ends at once. Processes that crash are replaced.
    """
    if check is not None or check_live is not None:
        _probe(check, check_live)
        return
    for option, value in (("--grace-s", grace_s), ("--idle-s", idle_s)):
        if value is not None and not math.isfinite(value):
            raise InvalidInput(option, f"{value} is no number of seconds", "Give a number like 30")
    from dfbatch.actors.standalone_plan import StandalonePlan

    asked = StandalonePlan(
        concurrency=concurrency, queues=_queues(queues), name=_name(name), shape=_shape(num_cpus, num_gpus),
        grace_s=grace_s, idle_s=idle_s, health_file=_health_file(health_file),
        health_host=health_host, health_port=health_port, log_format=_log_format(log_format),
    )  # fmt: skip
    raise typer.Exit(_run(asked, storage, address, namespace))


def _run(asked: StandalonePlan, storage: str | None, address: str | None, namespace: str | None) -> int:
    from dfbatch.actors.log_format import log_handler
    from dfbatch.actors.standalone import StandaloneWorker
    from dfbatch.config import resolve

    settings = resolve(storage_path=storage, namespace=namespace, address=address)
    plan = _placed(asked, settings)
    logging.basicConfig(level=plan.log_level, handlers=[log_handler(plan.log_format)])
    return StandaloneWorker(plan).run()


def _placed(asked: StandalonePlan, settings: Settings) -> StandalonePlan:
    """With the cluster and the namespace of the ledger's manager where none was given. Raises ManagerUnavailable."""
    from dataclasses import replace

    from dfbatch.ledger.lock import read_manager_info
    from dfbatch.ledger.storage import open_storage

    storage = open_storage(settings.storage_path)
    info = read_manager_info(storage)
    plan = replace(
        asked,
        storage_path=settings.storage_path,
        address=settings.address or "",
        namespace=info.namespace if info and settings.origins["namespace"] == "default" else settings.namespace,
        # A process that runs for weeks should say what it does, unless somebody asked for less.
        log_level="INFO" if settings.origins["log_level"] == "default" else settings.log_level,
    )
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


def _health_file(path: str | None) -> str | None:
    if path is None:
        return None
    if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK | os.X_OK) or os.path.isdir(path):
        raise InvalidInput("--health-file", f"{path} cannot be written", "Give a file in a folder that you may write")
    return path


def _name(text: str | None) -> str | None:
    """It becomes the name of a file."""
    if text is not None and not (0 < len(text) <= _LONGEST_NAME and text.replace("-", "").replace(".", "").isalnum()):
        problem = f"{text!r} is no usable name"
        raise InvalidInput("--name", problem, f"Use at most {_LONGEST_NAME} letters, digits, '-' and '.'")
    return text


def _shape(num_cpus: float, num_gpus: float) -> str:
    from dfbatch.core.resource_shape import ResourceShape

    return ResourceShape.of({"num_cpus": num_cpus, "num_gpus": num_gpus}, "--").key


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise InvalidInput("--log-format", f"{text!r} is not known", "Give text or json")
    return text
