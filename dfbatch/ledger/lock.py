"""Who manages a ledger: ``manager.json`` for everybody to read, and on a local disk a lock held by its process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass, fields
from typing import Literal

from dfbatch.errors import StorageUnusable
from dfbatch.ledger.storage import Storage

MANAGER_FILE = "manager.json"
LOCK_FILE = ".lock"

Mode = Literal["embedded", "background", "cluster", "in_process"]

_TRIES = 5
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class ManagerInfo:
    """The manager of a ledger, as stored in ``manager.json``. ``started_at``: seconds since 1970.

    ``session`` is drawn by whoever started the manager; a restart of the same manager keeps it. ``owner_pid``: the
    process whose end is the end of an embedded manager.
    """

    namespace: str
    epoch: int
    address: str
    pid: int
    host: str
    mode: Mode
    actor_name: str
    started_at: float
    version: str
    session: str = ""
    owner_pid: int = 0

    def encode(self) -> bytes:
        """The bytes of ``manager.json``."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def read_manager_info(storage: Storage) -> ManagerInfo | None:
    """Who took the ledger over last; None if nobody did, or if what is there is not legible."""
    try:
        found = json.loads(storage.read(MANAGER_FILE))
        return ManagerInfo(**{field.name: found[field.name] for field in fields(ManagerInfo)})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


class LedgerLock:
    """``flock`` on ``<root>/.lock``, held while the process lives. Always granted if the ledger is not local."""

    def __init__(self, storage: Storage) -> None:
        self._path = os.path.join(storage.root, LOCK_FILE) if storage.is_local else None
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """True if this object holds the lock now. Tries for a tenth of a second, because others may look at it."""
        if self._path is None or self._descriptor is not None:
            return True
        descriptor = _open(self._path)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Give the lock back; no error if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_locked_elsewhere(storage: Storage) -> bool:
    """True if another holder, in this process or another one of this machine, has the lock. False if not local."""
    if not storage.is_local or not os.path.exists(os.path.join(storage.root, LOCK_FILE)):
        return False
    descriptor = _open(os.path.join(storage.root, LOCK_FILE))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: str) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.makedirs(os.path.dirname(path))
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageUnusable(
            f"{path} cannot be opened ({error.strerror}). Give this user write access, or choose another storage_path."
        ) from error
