"""``dfbatch.connect``: find Ray and the ledger, start or find the manager, or read only."""

from __future__ import annotations

import os
import secrets
import socket
import time
import warnings
from dataclasses import dataclass
from typing import Any

from dfbatch.actors.link import ManagerLink
from dfbatch.config import Settings
from dfbatch.ledger.layout import begin_ledger, check_format
from dfbatch.ledger.lock import ManagerInfo, is_locked_elsewhere, read_manager_info
from dfbatch.ledger.probe import check_storage
from dfbatch.ledger.storage import Storage, open_storage

DYING_S = 30.0
"""A kernel that was killed leaves Ray processes that end within this time and let the lock go."""


@dataclass(slots=True)
class Connected:
    """``link`` None: read-only, ``held_by`` says why. ``ray`` is the RaySession, to be closed."""

    link: ManagerLink | None
    storage: Storage
    mode: str
    ray: Any = None
    held_by: str = ""
    actor_name: str = ""
    namespace: str = ""


class ReadOnlyWarning(UserWarning):
    """The ledger is managed by another process; this client can only read."""


def reach(settings: Settings, resume: bool) -> Connected:
    """Connect as the settings say. Raises ConnectError and its kinds before anything is accepted."""
    storage = open_storage(settings.storage_path)
    check_storage(storage)
    address = settings.address
    holder = _holder(storage)
    if holder is not None and address is None:
        if holder.mode in ("embedded", "in_process"):
            return _read_only(storage, settings, holder)
        # The manager runs on a cluster of this machine's reach: go there instead of starting another.
        address = holder.address
    return _with_ray(settings, storage, address, resume)


def _with_ray(settings: Settings, storage: Storage, address: str | None, resume: bool) -> Connected:
    from dfbatch.actors import cluster
    from dfbatch.actors.manager_base import ManagerConfig
    from dfbatch.actors.storage_probe import check_from_cluster

    low, high = settings.workers or (0, 0)
    session = cluster.reach(address, max(high, os.cpu_count() or 1) if settings.workers else None)
    try:
        if settings.workers is None:
            low, high = 0, session.cpus if session.mode == "embedded" else max(1, session.cpus - 1)
        actor_name = cluster.manager_name(storage.root)
        running = cluster.find_manager(actor_name, settings.namespace)
        if session.mode == "cluster":
            check_from_cluster(storage, settings.storage_path, running)
        if running is None:
            check_format(storage)
            begin_ledger(storage)
        config = ManagerConfig(
            # With the parameters of a URI, such as the endpoint of a store.
            storage_path=storage.root if storage.is_local else settings.storage_path,
            namespace=settings.namespace,
            mode=session.mode,
            address=session.address,
            actor_name=actor_name,
            session=secrets.token_hex(8),
            owner_pid=os.getpid() if session.mode == "embedded" else 0,
            workers=(low, high),
            resume=resume,
            begun=True,
            follows_cluster=settings.workers is None and session.mode == "cluster",
        )
        link = cluster.start_manager(config)
    except BaseException:
        session.close()
        raise
    return Connected(link, storage, session.mode, session, "", config.actor_name, config.namespace)


def _holder(storage: Storage) -> ManagerInfo | None:
    """Who manages the ledger now; None if nobody does. Waits for one that is dying."""
    until = time.monotonic() + DYING_S
    while is_locked_elsewhere(storage):
        info = read_manager_info(storage)
        here = info is not None and info.host == socket.gethostname()
        dying = info is not None and here and info.owner_pid and not _alive(info.owner_pid)
        if not dying or time.monotonic() > until:
            return info or ManagerInfo("", 0, "", 0, "?", "embedded", "", 0.0, "?")
        time.sleep(0.1)
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_only(storage: Storage, settings: Settings, holder: ManagerInfo) -> Connected:
    who = f"process {holder.owner_pid or holder.pid} on {holder.host}"
    held_by = (
        f"The ledger under {storage.root} is managed by {who}, so this client can only read it. To control batches, "
        f"work in that process, or close its client first; or use another storage_path here."
    )
    warnings.warn(held_by, ReadOnlyWarning, stacklevel=4)
    return Connected(None, storage, "read_only", None, held_by)
