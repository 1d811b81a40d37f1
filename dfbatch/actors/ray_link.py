"""The way to a manager that is a named Ray actor."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from dfbatch.actors.ray_compat import root_cause
from dfbatch.errors import DfbatchError, ManagerUnavailable


class RayLink:
    """Keeps the handle of the manager; looks its name up again only after it has died for good."""

    def __init__(self, actor_name: str, namespace: str, handle: Any = None) -> None:
        self._actor_name = actor_name
        self._namespace = namespace
        self._handle = handle

    def call(self, method: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        """One try. Errors of the manager come out as they were raised there."""
        handle = self._reach()
        try:
            return ray.get(getattr(handle, method).remote(*arguments), timeout=timeout_s)
        except RayTaskError as error:
            cause = root_cause(error)
            if isinstance(cause, DfbatchError):
                raise cause from None
            raise
        except ActorDiedError as error:
            self._handle = None
            raise ManagerUnavailable(f"The manager has died: {error}") from error
        except (ActorUnavailableError, OutOfMemoryError, RayActorError) as error:
            raise ManagerUnavailable("The manager is away, probably being restarted.") from error
        except GetTimeoutError:
            raise ManagerUnavailable(f"The manager did not answer '{method}' within {timeout_s:g} s.") from None

    def _reach(self) -> Any:
        if not ray.is_initialized():
            raise ManagerUnavailable("This process is no longer connected to Ray. Connect again.")
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self._actor_name, self._namespace)
            except ValueError:
                raise ManagerUnavailable(
                    f"No manager named '{self._actor_name}' runs in namespace '{self._namespace}'."
                ) from None
        return self._handle
