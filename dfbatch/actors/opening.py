"""Opening a ledger as its manager: lock, fence, read back. Blocking; runs beside the event loop."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dfbatch.clock import Clock
from dfbatch.errors import StorageInUse, StorageUnusable
from dfbatch.ledger.layout import MARKER_FILE
from dfbatch.ledger.lock import LedgerLock, ManagerInfo, Mode, read_manager_info
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import Recovered, recover
from dfbatch.ledger.storage import Storage, open_storage
from dfbatch.ledger.writer import LedgerWriter
from dfbatch.version import __version__

if TYPE_CHECKING:
    from dfbatch.actors.manager_base import ManagerConfig


@dataclass(slots=True)
class OpenedLedger:
    """A ledger this process manages. ``interrupted``: its last manager was embedded and ended with its kernel."""

    storage: Storage
    lock: LedgerLock
    writer: LedgerWriter
    reader: LedgerReader
    epoch: int
    recovered: Recovered
    interrupted: bool


def open_ledger(config: ManagerConfig, clock: Clock) -> OpenedLedger:
    """Take the ledger over.

    Raises StorageUnusable if it is not there any more, StorageInUse if its lock is held, LedgerTooNew, StorageRefused,
    LedgerCorrupt.
    """
    storage = open_storage(config.storage_path)
    if config.begun and not storage.exists(MARKER_FILE):
        raise StorageUnusable(
            f"The ledger under {config.storage_path} is not there any more. Bring its folder, or the disk or network "
            f"mount it is on, back to this place; the manager goes on by itself then."
        )
    lock = LedgerLock(storage)
    if not lock.try_acquire():
        raise StorageInUse(f"The ledger under {config.storage_path} is held by another process.")
    try:
        before = read_manager_info(storage)
        writer = LedgerWriter.open(storage, clock=clock)
        epoch = writer.take_over(_info(config, clock))
        reader = LedgerReader(storage)
        recovered = recover(reader)
    except BaseException:
        lock.release()
        raise
    interrupted = before is not None and before.mode in ("embedded", "in_process") and before.session != config.session
    return OpenedLedger(storage, lock, writer, reader, epoch, recovered, interrupted)


def _info(config: ManagerConfig, clock: Clock) -> ManagerInfo:
    details: dict[str, Any] = {
        "namespace": config.namespace,
        "epoch": 0,
        "address": config.address,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "mode": cast(Mode, config.mode),
        "actor_name": config.actor_name,
        "started_at": clock.now().wall,
        "version": __version__,
        "session": config.session,
        "owner_pid": config.owner_pid,
    }
    return ManagerInfo(**details)
