"""Verifiers on their way from the notebook to the workers: by name where that is safe, else by value.

By name only if the module belongs to an installed, non-editable distribution: then
the worker finds the same code. Everything else, a notebook cell or a local file,
goes by value, because a worker may have another driver's folder on its path. The
fingerprint is that of the source and the arguments, so an edit is a new verifier.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import pickle
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from dfbatch.actors.verifier_fingerprint import code_fingerprint, verifier_fingerprint
from dfbatch.errors import InvalidInput, VerifierUnusable

LARGEST_BYTES = 256 << 20
_registry = threading.Lock()
"""cloudpickle keeps one list for the whole process."""


@dataclass(frozen=True, slots=True)
class PackedVerifier:
    """``data``: the pickle. ``vectorised``: has ``verify_batch``. ``resources``: what it declares, in Ray's words."""

    data: bytes
    name: str
    fingerprint: str
    vectorised: bool
    resources: dict[str, Any]
    code: str | None = None
    """Fingerprint of the class or function alone, if it has a name that stands for one thing in a notebook."""


RESOURCE_NAMES = ("num_cpus", "num_gpus", "memory", "resources", "runtime_env")


def pack(verifier: Any, init: Mapping[str, Any] | None = None) -> PackedVerifier:
    """Pack a function, class or instance. Raises InvalidInput if it cannot be called or pickled."""
    target = verifier if inspect.isclass(verifier) or inspect.isroutine(verifier) else type(verifier)
    init = dict(init or {})
    _check(verifier, init)
    name = f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', type(verifier).__name__)}"
    try:
        data = _dumps(verifier, init, getattr(target, "__module__", None) or "")
    except Exception as error:
        raise InvalidInput(
            "verifier",
            f"{name} cannot be sent to the workers ({type(error).__name__}: {error})",
            "Open connections, locks and models in __init__ of a class, or inside the function, not outside",
        ) from error
    if len(data) > LARGEST_BYTES:
        raise InvalidInput(
            "verifier",
            f"{name} is {len(data) >> 20} MiB when pickled",
            "Load large data in __init__ from a path given in init={...}",
        )
    resources = {k: v for k in RESOURCE_NAMES if (v := getattr(verifier, k, None)) is not None}
    fingerprint = verifier_fingerprint(verifier, init, _goes_by_name)
    code = None if "<" in name else code_fingerprint(verifier, _goes_by_name)
    return PackedVerifier(data, name, fingerprint, hasattr(verifier, "verify_batch"), resources, code)


def load(data: bytes) -> Any:
    """The verifier, constructed. Raises VerifierUnusable with the user's own error as its cause."""
    try:
        verifier, init = pickle.loads(data)  # ours: written by pack(), read from our own ledger
    except (Exception, SystemExit) as error:
        raise VerifierUnusable(
            f"The verifier cannot be loaded on the worker: {type(error).__name__}: {error}"
        ) from error
    if not inspect.isclass(verifier):
        return verifier
    try:
        return verifier(**init)
    except (Exception, SystemExit) as error:
        raise VerifierUnusable(
            f"{verifier.__qualname__}({', '.join(init)}) failed on the worker: {type(error).__name__}: {error}"
        ) from error


def entry_point(verifier: Any) -> tuple[Callable[..., Any], bool, bool]:
    """(function to call, is it vectorised, does it take ``ctx``)."""
    vectorised = hasattr(verifier, "verify_batch")
    call = verifier.verify_batch if vectorised else verifier
    return call, vectorised, _takes_context(call)


def _takes_context(call: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return False
    names = [p.name for p in parameters]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # A second positional parameter without a default is meant for us, whatever it is called.
    return "ctx" in names[1:] or (len(positional) >= 2 and positional[1].default is inspect.Parameter.empty)


def _check(verifier: Any, init: dict[str, Any]) -> None:
    if not callable(verifier) and not hasattr(verifier, "verify_batch"):
        raise InvalidInput(
            "verifier",
            f"{verifier!r} is neither a function, nor a class with __call__ or verify_batch",
            "Give a function item -> result, or a class",
        )
    called = verifier if inspect.isclass(verifier) else type(verifier)
    if any(
        map(inspect.iscoroutinefunction, (verifier, vars(called).get("__call__"), vars(called).get("verify_batch")))
    ):
        raise InvalidInput("verifier", "is asynchronous", "Give a plain function; run the loop inside it")
    if not inspect.isclass(verifier):
        if init:
            raise InvalidInput("init", "is given, but the verifier is no class", "Give the class itself, or drop init")
        return
    if not any("__call__" in c.__dict__ or "verify_batch" in c.__dict__ for c in verifier.__mro__):
        raise InvalidInput(
            "verifier", f"class {verifier.__name__} has neither __call__ nor verify_batch", "Define one of them"
        )
    try:
        inspect.signature(verifier).bind(**init)
    except TypeError as error:
        raise InvalidInput(
            "init", f"does not fit {verifier.__name__}(): {error}", "Give init={...} with its arguments"
        ) from error
    except ValueError:
        return  # a class in C without a signature


def _dumps(verifier: Any, init: dict[str, Any], own: str) -> bytes:
    """Every local module by value; if one of them cannot travel so, the verifier's own alone."""
    local = _local_modules()
    try:
        with _by_value(local):
            return bytes(cloudpickle.dumps((verifier, init), protocol=5))
    except Exception:
        with _by_value([module for module in local if module.__name__ == own]):
            return bytes(cloudpickle.dumps((verifier, init), protocol=5))


@contextlib.contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    with _registry:
        before = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in modules if module.__name__ not in before]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


class _LocalModules:
    """The modules of this process that are local; looked for again only when something was imported."""

    def __init__(self) -> None:
        self._known: tuple[tuple[str, ModuleType], ...] = ()
        self._local: list[ModuleType] = []

    def __call__(self) -> list[ModuleType]:
        known = tuple(sys.modules.items())
        if known != self._known:
            self._local = [module for _, module in known if _is_local(module)]
            self._known = known
        return list(self._local)


_local_modules = _LocalModules()


def _is_local(module: Any) -> bool:
    """True for a module that a worker may lack, or have another file for."""
    name = getattr(module, "__name__", None)
    if (
        not isinstance(module, ModuleType)
        or name in (None, "__main__")
        or sys.modules.get(module.__name__) is not module
    ):
        return False
    return bool(getattr(module, "__file__", None)) and not _is_installed(module.__name__, str(module.__file__))


@functools.cache
def _is_installed(name: str, file: str) -> bool:
    """True if the module comes from an installed distribution that is not editable, or from Python itself."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "dfbatch":
        return True
    folders = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    if not any(Path(file).is_relative_to(folder) for folder in folders):
        # Installed to elsewhere (a user's folder, a system's own), or not installed at all.
        return "site-packages" in Path(file).parts or "dist-packages" in Path(file).parts
    return True


def _goes_by_name(module: ModuleType) -> bool:
    return not _is_local(module)
