"""A small file beside the mark in which the circuit breakers of a worker outlive its process.

Written when one of them changed, replaced as a whole, and read once by the process
that takes the worker's place. Times in it are of the monotonic clock, so a file of
another boot or host is worth nothing and is dropped; so is one that cannot be read.
Where the process is renewed under another name, perhaps elsewhere, what is kept goes
by value, with times of the wall clock.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.circuit_breaker import BreakerPast, BreakerState

MOST_KEPT = 100
"""Breakers in one file."""
_LARGEST_BYTES = 1 << 18
_FORM = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_COUNTED = 1 << 40
_logger = logging.getLogger("dfbatch.worker")


@dataclass(frozen=True, slots=True)
class KeptBreaker:
    """``policy``: its numbers; rules about errors are code, and are not kept. ``hurts``: as of ``Breaker``."""

    verifier: str
    name: str
    hurts: bool
    past: BreakerPast
    policy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """``orders``: the operator's words that were carried out; see ``WorkerBreakers.obey``."""

    breakers: tuple[KeptBreaker, ...] = ()
    orders: Mapping[str, tuple[float, str]] = field(default_factory=dict)


class BreakerMemory:
    """The file of one worker name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = Kept()

    def read(self) -> Kept:
        """What the last process left; nothing if it is not of this boot, or makes no sense."""
        try:
            if self.path.stat().st_size > _LARGEST_BYTES:
                raise ValueError("it is too large")
            found = json.loads(self.path.read_text())
            if found["form"] != _FORM or found["boot"] != present_boot():
                return Kept()
            orders = {str(name): (float(at), str(order)) for name, (at, order) in found["orders"].items()}
            self._written = Kept(tuple(map(_breaker, found["breakers"][:MOST_KEPT])), orders)
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            _logger.warning("What the last process knew of its circuit breakers cannot be read: %s", error)
            return Kept()
        return self._written

    def write(self, kept: Kept) -> None:
        """Replace the file, if there is news. A disk that refuses costs the memory and nothing else."""
        if kept == self._written:
            return
        self._written = kept
        found = {
            "form": _FORM,
            "boot": present_boot(),
            "orders": dict(kept.orders),
            "breakers": [asdict(each) for each in kept.breakers[:MOST_KEPT]],
        }
        beside = self.path.with_suffix(".breakers-new")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(found, file)
            beside.replace(self.path)
        except OSError as error:
            _logger.warning("The circuit breakers cannot be written down: %s", error)

    def bequeath(self) -> Kept | None:
        """What is kept, for a process of another name or host, and nothing any more here; None if there is nothing."""
        kept = self.read()
        self.path.unlink(missing_ok=True)
        return None if kept == Kept() else _moved(kept, time.time() - time.monotonic())

    def inherit(self, kept: Kept) -> None:
        """Begin with what another process left. One that is started again knows better by itself."""
        if not self.path.exists():
            self.write(_moved(kept, time.monotonic() - time.time()))


def _moved(kept: Kept, by_s: float) -> Kept:
    """The same by another clock."""
    pasts = [(each, max(0.0, each.past.retry_at + by_s)) for each in kept.breakers]
    return Kept(
        tuple(replace(each, past=replace(each.past, retry_at=retry_at)) for each, retry_at in pasts), kept.orders
    )


def present_boot() -> str:
    """Tells this run of this machine from any other; where there is no name for it, by when it began."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"{socket.gethostname()} {int(time.time() - time.monotonic()) // 10}"


def _breaker(row: dict[str, Any]) -> KeptBreaker:
    """Raises ValueError, TypeError, KeyError for what no breaker can be."""
    past = row["past"]
    retry_at, n_openings, n_opened_ever = past["retry_at"], past["n_openings"], past["n_opened_ever"]
    if not (isinstance(retry_at, (int, float)) and retry_at >= 0):
        raise ValueError(f"{retry_at!r} is no time")
    calls = tuple(past["calls"])
    if not all(isinstance(n, int) and 0 <= n < _MOST_COUNTED for n in (n_openings, n_opened_ever, *calls)):
        raise ValueError(f"{n_openings}, {n_opened_ever} and {calls} are no counts")
    error = str(past["last_error"])
    told = BreakerPast(BreakerState(past["state"]), float(retry_at), n_openings, n_opened_ever, error, calls)
    policy = dict(row["policy"])
    BreakerPolicy.of(policy)
    return KeptBreaker(str(row["verifier"]), str(row["name"]), bool(row["hurts"]), told, policy)
