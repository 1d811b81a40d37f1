"""Whether the storage path is the same place here and on the cluster: written here, read there."""

from __future__ import annotations

import secrets
import socket
import time

import ray
from ray.exceptions import GetTimeoutError

from dfbatch.actors.link import ManagerLink, patiently
from dfbatch.errors import ManagerUnavailable, StorageUnusable
from dfbatch.ledger.probe import check_storage
from dfbatch.ledger.storage import Storage, open_storage

FIRST_TRY_S = 20.0
PATIENCE_S = 60.0
"""A busy cluster starts few processes at a time; a second task may find a place before the first one does."""


def check_from_cluster(storage: Storage, storage_path: str, manager: ManagerLink | None) -> None:
    """Write here; let a manager that runs already read it, else a task on some node. Raises StorageUnusable."""
    token = secrets.token_hex(8)
    path = f".probe-{token}"
    storage.create(path, token.encode())
    try:
        seen = (manager and _seen_by_manager(manager, path)) or _seen_by_task(storage_path, path)
    finally:
        storage.delete(path)
    if seen != token:
        raise StorageUnusable(
            f"Workers of the cluster cannot use {storage_path}: {seen}. Use a storage_path that all nodes share: "
            f"a network file system, s3:// or gs://."
        )


def read_probe(storage_path: str, path: str) -> str:
    """What stands in the probe, or in words why it cannot be read here."""
    try:
        storage = open_storage(storage_path)
        check_storage(storage)
        return storage.read(path).decode()
    except Exception as error:
        return f"on {socket.gethostname()}, {type(error).__name__}: {error}"


def _seen_by_manager(manager: ManagerLink, path: str) -> str:
    """Empty if it left meanwhile, or is of a version that does not know this call: its version is told later."""
    try:
        return patiently(lambda: str(manager.call("read_probe", path)), FIRST_TRY_S)
    except (ManagerUnavailable, AttributeError):
        return ""


def _seen_by_task(storage_path: str, path: str) -> str:
    probe = ray.remote(read_probe).options(num_cpus=0, max_retries=2, scheduling_strategy="SPREAD")
    tries = [probe.remote(storage_path, path)]
    until = time.monotonic() + PATIENCE_S
    done, _ = ray.wait(tries, timeout=FIRST_TRY_S)
    if not done:
        tries.append(probe.remote(storage_path, path))
        done, _ = ray.wait(tries, timeout=max(0.0, until - time.monotonic()))
    try:
        return str(ray.get((done or tries)[0], timeout=0.1))
    except GetTimeoutError:
        for late in tries:
            ray.cancel(late, force=True)
        raise StorageUnusable(
            f"No worker of the cluster answered within {PATIENCE_S:g} s. Look at the cluster with `ray status`."
        ) from None
