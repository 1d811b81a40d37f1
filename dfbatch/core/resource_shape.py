"""What a worker needs of its node, in Ray's words, and whether any node of a cluster has it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfbatch.errors import InvalidInput, InvalidType

DEFAULT = "default"
RESOURCE_NAMES = ("num_cpus", "num_gpus", "memory", "resources", "runtime_env")
_OWN_NAMES = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory", "object_store_memory": None}
"""Ray's own resources, and what they are asked for with. None: not at all."""
_GRAIN = 0.0001
"""Ray counts in ten-thousandths."""
_LARGEST_ENV = 64 << 10
"""Bytes of JSON: it is kept with every batch, and goes to Ray with every worker."""


@dataclass(frozen=True, slots=True)
class ResourceShape:
    """The resources of one worker. ``memory`` is in bytes; 0 asks for none in particular."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Mapping[str, Any], where: str = "") -> ResourceShape:
        """Checked; None is not given. ``where`` goes before a name in errors. Raises InvalidInput, InvalidType."""
        given = {name: value for name, value in declared.items() if value is not None}
        for name in given:
            if name not in RESOURCE_NAMES:
                raise InvalidInput(where + name, "is no resource", f"There are: {', '.join(RESOURCE_NAMES)}")
        return cls(
            _amount(where + "num_cpus", given.get("num_cpus", 1)),
            _amount(where + "num_gpus", given.get("num_gpus", 0)),
            _bytes(where + "memory", given.get("memory", 0)),
            _custom(where + "resources", given.get("resources", {})),
            _environment(where + "runtime_env", given.get("runtime_env", {})),
        )

    def declared(self) -> dict[str, Any]:
        """What differs from the default, as ``of`` takes it and JSON keeps it."""
        plain = ResourceShape()
        return {k: v for k in RESOURCE_NAMES if (v := getattr(self, k)) != getattr(plain, k)}

    @property
    def key(self) -> str:
        """Names the shape: ``default`` for one CPU and nothing else, else as ``cpu1-gpu2-env3fa92c``."""
        if not self.declared():
            return DEFAULT
        parts = [f"cpu{self.num_cpus:g}"]
        parts += [f"gpu{self.num_gpus:g}"] if self.num_gpus else []
        parts += [f"mem{_short_bytes(self.memory)}"] if self.memory else []
        parts += [f"res{_digest(self.resources)}"] if self.resources else []
        parts += [f"env{_digest(self.runtime_env)}"] if self.runtime_env else []
        return "-".join(parts)

    def demands(self) -> dict[str, float]:
        """By Ray's name of the resource; what is not asked for is left out."""
        asked = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": float(self.memory), **self.resources}
        return {name: amount for name, amount in asked.items() if amount}

    def fits(self, has: Mapping[str, float]) -> bool:
        """True if an empty node that has this could run a worker."""
        return all(has.get(name, 0.0) >= amount - _GRAIN / 2 for name, amount in self.demands().items())

    def __str__(self) -> str:
        return in_words(self.demands()) or "nothing"


@dataclass(frozen=True, slots=True)
class NodeView:
    """A living node and all it has, in use or not, by Ray's names."""

    name: str
    has: Mapping[str, float]
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """``autoscales``: nodes may be added by themselves. ``node_types``: what those would have, if that is known."""

    nodes: tuple[NodeView, ...]
    autoscales: bool = False
    node_types: tuple[Mapping[str, float], ...] = ()

    def total(self, name: str) -> float:
        """Of one resource, over all nodes."""
        return sum(node.has.get(name, 0.0) for node in self.nodes)

    def room_for(self, shape: ResourceShape) -> int | None:
        """Workers of this shape that the cluster could run if nothing else did; None if it grows by itself."""
        demands = shape.demands()
        if self.autoscales or not demands:
            return None
        return sum(
            math.floor(min(node.has.get(name, 0.0) / amount for name, amount in demands.items()) + _GRAIN)
            for node in self.nodes
        )

    def lacks(self, shape: ResourceShape) -> str | None:
        """Why no worker of this shape can ever run here, with what the cluster has; None if one can."""
        if any(shape.fits(node.has) for node in self.nodes) or any(map(shape.fits, self.node_types)):
            return None
        if self.autoscales and not self.node_types:
            return None  # who knows what it would add
        return (
            f"No node of the cluster has the {shape} that a worker needs. {self._what_there_is(shape)} "
            f"Ask for less, or add a node that has it."
        )

    def _what_there_is(self, shape: ResourceShape) -> str:
        if not self.nodes:
            return "The cluster has no node at all."
        demands = shape.demands()
        shown = ("CPU", "GPU", "memory", *shape.resources)

        def nearness(node: NodeView) -> tuple[float, ...]:
            met = sum(min(1.0, node.has.get(name, 0.0) / amount) for name, amount in demands.items())
            return (met, *(node.has.get(name, 0.0) for name in ("GPU", "CPU", "memory")))

        largest = max(self.nodes, key=nearness)
        has = in_words({name: largest.has.get(name, 0.0) for name in shown}, keep=demands)
        count = f"{len(self.nodes)} nodes" if len(self.nodes) > 1 else "one node"
        total = in_words({name: self.total(name) for name in shown}, keep=demands)
        sum_of_all = f", and all together {total}" if len(self.nodes) > 1 else ""
        return f"It has {count}; the largest ({largest.name}) has {has}{sum_of_all}."


def cpus_of_key(key: str) -> float:
    """CPUs of a worker of the shape that has this key."""
    return 1.0 if key == DEFAULT else float(key.partition("-")[0].removeprefix("cpu"))


def in_words(amounts: Mapping[str, float], keep: Iterable[str] = ()) -> str:
    """``2 CPU, 1 GPU, 4 GiB memory``. Zeros are left out, unless they are to be kept."""
    kept = set(keep)
    shown = {name: amount for name, amount in amounts.items() if amount or name in kept}
    return ", ".join(
        f"{amount / 2**30:.3g} GiB memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in shown.items()
    )


def _amount(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(name, f"is {type(value).__name__}, not a number", _REMEDY)
    if not math.isfinite(value) or value < 0 or value > 1e6:
        raise InvalidInput(name, f"{value!r} is no number of units from 0 to 1,000,000")
    if value > 1 and value != int(value):
        raise InvalidInput(name, f"{value!r} is not whole", "Ray shares a unit, but gives only whole ones above 1")
    if 0 < value < _GRAIN:
        raise InvalidInput(name, f"{value!r} is less than {_GRAIN:g}, the smallest part that Ray knows")
    return round(float(value), 4)


def _bytes(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(name, f"is {type(value).__name__}, not a number of bytes", _REMEDY)
    if not math.isfinite(value) or value < 0 or value > 2**60 or value != int(value):
        raise InvalidInput(name, f"{value!r} is no whole number of bytes", "Four GiB are 4 * 2**30")
    return int(value)


def _custom(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or any(not isinstance(k, str) for k in value):
        raise InvalidType(name, f"is {type(value).__name__}, not a dict of names and numbers", _REMEDY)
    for resource in value:
        if resource in _OWN_NAMES:
            other = _OWN_NAMES[resource]
            remedy = f"Give {other}=..." if other else "It is not to be asked for"
            raise InvalidInput(name, f"names {resource!r}, which is Ray's own", remedy)
        if not resource.strip() or len(resource) > 200 or not resource.isprintable():
            raise InvalidInput(name, f"{resource[:40]!r} is no name of a resource")
    found = {resource: _amount(f"{name}[{resource!r}]", amount) for resource, amount in value.items()}
    return {resource: found[resource] for resource in sorted(found) if found[resource]}


def _environment(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidType(name, f"is {type(value).__name__}, not a dict", _REMEDY)
    try:
        text = json.dumps(dict(value), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidType(
            name, f"cannot be written as JSON ({error})", "Use only texts, numbers, lists and dicts"
        ) from error
    if len(text) > _LARGEST_ENV:
        raise InvalidInput(name, f"is {len(text):,} bytes long", f"At most {_LARGEST_ENV:,} are kept with a batch")
    found: dict[str, Any] = json.loads(text)
    return found


_REMEDY = "See the resources of an actor in Ray's documentation; rename the attribute if it means something else"


def _short_bytes(n: int) -> str:
    for unit, size in (("g", 2**30), ("m", 2**20)):
        if n % size == 0:
            return f"{n // size}{unit}"
    return str(n)


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
