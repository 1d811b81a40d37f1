"""What a verifier is: a hash of its code, of everything its code refers to, and of its arguments.

Two verifiers with one fingerprint give the same outcomes, so outcomes may be reused. That is why the source alone
will not do: a closure, a global, or a helper in another cell makes another verifier of the same source. Code that is
installed counts by its name and version, code of the user by what it says. Where something cannot be looked into, the
fingerprint is one that never comes again.
"""

from __future__ import annotations

import builtins
import dis
import functools
import hashlib
import importlib.metadata
import inspect
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range)
_NOT_PART_OF_A_CLASS = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"})
_GLOBAL_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
MOST_OBJECTS = 20_000
"""A verifier that refers to more than this (a model in a closure, say) is not followed further."""


class _TooMuch(Exception):
    """More than can be looked into."""


def verifier_fingerprint(verifier: Any, init: Mapping[str, Any], is_installed: Callable[[ModuleType], bool]) -> str:
    """16 hex digits. ``is_installed``: whether a module is code that all workers have alike."""
    walk = _Walk(is_installed)
    try:
        walk.add(verifier)
        walk.add(sorted(init.items()))
    except Exception:
        # Whatever objects of the user do when they are looked into: no reuse is better than a wrong one.
        return secrets.token_hex(8)
    return walk.digest.hexdigest()[:16]


def code_fingerprint(verifier: Any, is_installed: Callable[[ModuleType], bool]) -> str | None:
    """Of the class or function alone, without arguments or state; None if it cannot be looked into."""
    code = verifier if inspect.isclass(verifier) or inspect.isroutine(verifier) else type(verifier)
    walk = _Walk(is_installed)
    try:
        walk.add(code)
    except Exception:
        return None
    return walk.digest.hexdigest()[:16]


class _Walk:
    """Feeds objects to a hash, in an order that depends on nothing but them."""

    def __init__(self, is_installed: Callable[[ModuleType], bool]) -> None:
        self.digest = hashlib.sha256()
        self._is_installed = is_installed
        self._seen: dict[int, tuple[int, Any]] = {}

    def add(self, value: Any) -> None:
        if type(value) in _PLAIN:
            self._say(type(value).__name__, repr(value))
            return
        place = self._seen.get(id(value))
        if place is not None:
            self._say("again", str(place[0]))
            return
        if len(self._seen) >= MOST_OBJECTS:
            raise _TooMuch
        self._seen[id(value)] = (len(self._seen), value)  # held, so that no other object gets its id
        self._add_object(value)

    def _say(self, *words: str) -> None:
        for word in words:
            data = word.encode("utf-8", "surrogatepass")
            self.digest.update(b"%d:" % len(data))
            self.digest.update(data)

    def _add_all(self, kind: str, values: Iterable[Any]) -> None:
        found = list(values)
        self._say(kind, str(len(found)))
        for value in found:
            self.add(value)

    def _add_object(self, value: Any) -> None:
        match value:
            case list() | tuple() if type(value) in (list, tuple):
                self._add_all(type(value).__name__, value)
            case dict() if type(value) is dict:
                self._add_all("dict", (part for item in value.items() for part in item))
            case set() | frozenset():
                self._add_all("set", sorted(value, key=lambda part: (type(part).__name__, repr(part))))
            case CodeType():
                self._add_code(value)
            case ModuleType():
                self._add_module(value)
            case MethodType():
                self._add_all("method", (value.__self__, value.__func__))
            case functools.partial():
                self._add_all("partial", (value.func, value.args, dict(value.keywords)))
            case property() | staticmethod() | classmethod():
                parts = [getattr(value, name, None) for name in ("fget", "fset", "fdel", "__func__")]
                self._add_all(type(value).__name__, parts)
            case type() | FunctionType() | BuiltinFunctionType():
                self._add_code_object(value)
            case np.ndarray() if value.dtype.kind != "O":
                self._say("array", str(value.dtype), str(value.shape))
                self.digest.update(np.ascontiguousarray(value).tobytes())
            case _:
                self._add_all("object", self._reduced(value))

    @staticmethod
    def _reduced(value: Any) -> list[Any]:
        """Any other object as pickle sees it; it raises for what cannot be pickled."""
        reduced = value.__reduce_ex__(2)
        if isinstance(reduced, str):
            return [type(value), reduced]
        return [type(value), *(list(part) if k >= 3 and part is not None else part for k, part in enumerate(reduced))]

    def _add_code_object(self, value: Any) -> None:
        module = sys.modules.get(getattr(value, "__module__", None) or "")
        name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        if module is None and isinstance(value, BuiltinFunctionType):
            self._add_all("builtin", (name, value.__self__))
        elif module is not None and module.__name__ != "__main__" and self._is_installed(module):
            self._say("installed", name, _version_of(module))
        elif isinstance(value, FunctionType):
            self._add_function(value)
        else:
            self._say("class", value.__qualname__)
            self._add_all("bases", value.__bases__)
            parts = sorted((k, v) for k, v in vars(value).items() if k not in _NOT_PART_OF_A_CLASS)
            self._add_all("body", (part for item in parts if not _is_slot(item[1]) for part in item))

    def _add_function(self, value: FunctionType) -> None:
        self._say("function", value.__qualname__)
        self._add_all("parts", (value.__code__, value.__defaults__, value.__kwdefaults__))
        self._add_all("closure", (cell.cell_contents for cell in value.__closure__ or ()))
        known = value.__globals__
        for name in sorted(_names(value.__code__)):
            if name in known:
                self._say("global", name)
                self.add(known[name])
            elif hasattr(builtins, name):
                self._say("builtin", name)

    def _add_code(self, code: CodeType) -> None:
        """What the code does; not where it stands, so that a cell that is run again is the same."""
        self._say("code", code.co_name, code.co_code.hex(), str(code.co_flags))
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._add_all("names", names)
        self._add_all("counts", (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount))
        self._add_all("constants", code.co_consts)

    def _add_module(self, module: ModuleType) -> None:
        """A module of the user counts by its text and by the modules of the user that it refers to."""
        self._say("module", module.__name__)
        if module.__name__ == "__main__" or self._is_installed(module):
            self._say(_version_of(module))
            return
        path = inspect.getsourcefile(module)
        if path is None:
            raise _TooMuch
        with open(path, "rb") as file:
            self.digest.update(hashlib.sha256(file.read()).digest())
        parts = sorted((k, v) for k, v in vars(module).items() if not k.startswith("__"))
        for name, part in parts:
            owner = part if isinstance(part, ModuleType) else sys.modules.get(getattr(part, "__module__", None) or "")
            if owner is not None and owner is not module:
                self._say("uses", name)
                self.add(owner)


def _names(code: CodeType) -> set[str]:
    """Global names that a function and those written inside it may use; names of attributes are none of them."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL_READS}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _is_slot(value: Any) -> bool:
    return type(value).__name__ in ("member_descriptor", "getset_descriptor")


@functools.cache
def _version_of(module: ModuleType) -> str:
    top = module.__name__.partition(".")[0]
    if top in sys.stdlib_module_names:
        return sys.version
    told = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(told, str):
        return told
    # Slow, so it comes last: it reads what every installed distribution holds.
    return " ".join(map(importlib.metadata.version, importlib.metadata.packages_distributions().get(top, [])))
