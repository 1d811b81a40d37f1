"""What a verifier asks of its workers: declared on the class, or given as options, which win."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dfbatch.core.resource_shape import ResourceShape
from dfbatch.errors import InvalidInput


def shape_of(on_verifier: Mapping[str, Any], as_options: Mapping[str, Any]) -> ResourceShape:
    """The shape of the workers for a submit. Raises InvalidInput, InvalidType that name what is wrong.

    A method or property of the verifier that happens to be called ``memory``, say, declares nothing.
    """
    own = {name: value for name, value in on_verifier.items() if not _is_code(value)}
    ResourceShape.of({name: value for name, value in own.items() if name not in as_options}, "verifier.")
    shape = ResourceShape.of({**own, **as_options})
    if shape.runtime_env:
        _check_environment(shape.runtime_env)
    return shape


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, property) or inspect.isdatadescriptor(value)


def _check_environment(env: Mapping[str, Any]) -> None:
    """What Ray would refuse is refused here, and what only the driver of a Ray job can have."""
    folders = {"working_dir": [env.get("working_dir")], "py_modules": env.get("py_modules")}
    for name, places in folders.items():
        for place in places if isinstance(places, list) else ():
            if isinstance(place, str) and "://" not in place:
                raise InvalidInput(
                    f"runtime_env[{name!r}]",
                    f"{place[:200]!r} is a folder of this machine, which workers elsewhere do not have",
                    "Give the URI of a zip file that every node reaches, or leave it out: local modules travel "
                    "with the verifier",
                )
    from dfbatch.actors.ray_compat import why_no_runtime_env

    problem = why_no_runtime_env(env)
    if problem is not None:
        raise InvalidInput("runtime_env", problem, "See runtime environments in Ray's documentation")
