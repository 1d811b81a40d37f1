"""Reaching Ray: a private local one, the one this process has, or a running cluster; and the manager on it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from dfbatch.actors.ray_compat import (
    bind_to_loopback,
    protect_token_file,
    quiet_environment,
    quiet_start,
    short_temp_dir,
    silence_raylet,
)
from dfbatch.errors import ClusterUnreachable, ConnectError, ManagerUnavailable, VersionMismatch
from dfbatch.ledger.storage import open_storage
from dfbatch.version import __version__

quiet_environment()

import ray  # noqa: E402  (the environment must be set before Ray is imported)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from dfbatch.actors.link import ManagerLink, patiently  # noqa: E402
from dfbatch.actors.manager_actor import ManagerActor  # noqa: E402
from dfbatch.actors.manager_base import ManagerConfig  # noqa: E402
from dfbatch.actors.ray_link import RayLink  # noqa: E402

OBJECT_STORE_BYTES = 512 << 20
REACH_S = 60.0
"""A killed manager on a busy machine needs half a minute to be back."""
REMOVING_S = 10.0
"""Files of a Ray that has been ended are left behind if they cannot be removed for so long."""
_PERMANENT = ("LedgerTooNew", "StorageInUse", "StorageUnusable", "LedgerCorrupt")


@dataclass(slots=True)
class RaySession:
    """A connection to Ray. ``mode``: embedded or cluster. ``temp_dir`` is set if it is ours to remove."""

    mode: str
    address: str
    temp_dir: str | None = None
    cpus: int = 1

    def close(self) -> None:
        """End a Ray that we started; leave any other as it is."""
        if self.mode == "embedded":
            ray.shutdown()
            if self.temp_dir is not None:
                remove_folder(self.temp_dir)


def remove_folder(path: str) -> None:
    """Again and again for a moment: processes of Ray that are about to end may still write there."""
    until = time.monotonic() + REMOVING_S
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path) or time.monotonic() > until:
            return
        time.sleep(0.05)


def reach(address: str | None, n_cpus: int | None = None) -> RaySession:
    """Connect to Ray: what this process has, else ``address``, else a private local one.

    Raises ClusterUnreachable within 30 s.
    """
    if ray.is_initialized():
        return _attached()
    if address is not None:
        return _attach(address)
    return _start(n_cpus)


def _attached() -> RaySession:
    return RaySession("cluster", ray.get_runtime_context().gcs_address, cpus=_cluster_cpus())


def _attach(address: str) -> RaySession:
    if address.startswith("ray://"):
        raise ClusterUnreachable(
            f"{address} is a Ray Client address, which dfbatch does not use. Run on a node of the cluster "
            f"(or with `ray job submit`) and pass address='auto' or 'host:6379'."
        )
    _check_port(address)
    try:
        with quiet_start():
            _ = ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterUnreachable(
            f"No Ray cluster answered at {address}: {_first_line(error)}. Start one with `ray start --head`, correct "
            f"the address, or leave it out to work on this machine alone."
        ) from error
    return RaySession("cluster", ray.get_runtime_context().gcs_address, cpus=_cluster_cpus())


def _cluster_cpus() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 1))


def _check_port(address: str) -> None:
    """Ray tries for a minute and more to reach an address where nobody listens; a socket knows at once."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"Nobody listens at {address} ({error.strerror or error}). Correct the address, start the cluster, or "
            f"leave the address out to work on this machine alone."
        ) from error


def _start(n_cpus: int | None) -> RaySession:
    if threading.current_thread() is not threading.main_thread():
        # The end of the thread that started Ray ends the whole local cluster (ray#45570).
        raise ConnectError(
            "A local Ray can only be started from the main thread. Call dfbatch.connect() there first, or pass "
            "the address of a running cluster."
        )
    cpus = n_cpus or os.cpu_count() or 1
    temp_dir = short_temp_dir()
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        bind_to_loopback()
        with quiet_start():
            _ = ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=temp_dir,
            )
    except (RuntimeError, ConnectionError, TimeoutError, ValueError, OSError) as error:
        shutil.rmtree(temp_dir, ignore_errors=True)
        raise ClusterUnreachable(f"Ray did not start on this machine: {_first_line(error)}") from error
    finally:
        signal.signal(signal.SIGTERM, on_term)
    protect_token_file()
    silence_raylet()
    return RaySession("embedded", ray.get_runtime_context().gcs_address, temp_dir, cpus)


def manager_name(storage_path: str) -> str:
    """The name of the manager of a ledger; one a ledger, whatever spelling of its path."""
    root = open_storage(storage_path).root
    return f"dfbatch-manager:{hashlib.sha256(root.encode()).hexdigest()[:10]}"


def start_manager(config: ManagerConfig) -> ManagerLink:
    """The manager of a ledger: the one that runs, or a new one. Returns when it answers.

    Raises what keeps it from its ledger (StorageInUse, LedgerTooNew ...), VersionMismatch, ManagerUnavailable.
    """
    is_new = find_manager(config.actor_name, config.namespace) is None
    actor = ray.remote(ManagerActor)
    handle: Any = actor.options(
        name=config.actor_name,
        namespace=config.namespace,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,
        # Every worker keeps a call or two waiting here; they must leave room for those of clients.
        max_concurrency=10_000,
        enable_task_events=False,
        scheduling_strategy=_near_the_head(),
    ).remote(config)
    link = RayLink(config.actor_name, config.namespace, handle)
    until = time.monotonic() + REACH_S
    while True:
        found = patiently(lambda: link.call("describe", timeout_s=REACH_S), REACH_S)
        if found.status == "running":
            break
        if type(found.error).__name__ in _PERMANENT or time.monotonic() > until:
            if is_new:  # one that others started recovers when its storage is back
                ray.kill(handle)
            raise found.error or ManagerUnavailable(f"The manager does not come up: {found.reason or found.status}.")
        time.sleep(0.05)
    if found.version != __version__:
        raise VersionMismatch(
            f"The manager runs dfbatch {found.version}, this process {__version__}. Install the same version in both."
        )
    return link


def _near_the_head() -> Any:
    """The manager lives where Ray's own books are kept, if it may: the end of any other node then costs no restart."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    heads = [node["NodeID"] for node in nodes if node["Alive"] and "node:__internal_head__" in node["Resources"]]
    return NodeAffinitySchedulingStrategy(heads[0], soft=True) if heads else "DEFAULT"


def find_manager(actor_name: str, namespace: str) -> ManagerLink | None:
    """The link to a manager that runs already, or None."""
    try:
        return RayLink(actor_name, namespace, ray.get_actor(actor_name, namespace))
    except ValueError:
        return None


def end_manager(link: Any, actor_name: str, namespace: str) -> None:
    """Shut a manager down in good order, then remove its actor."""
    try:
        link.call("shutdown", timeout_s=30.0)
    finally:
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(actor_name, namespace))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
