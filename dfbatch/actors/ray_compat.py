"""Everything of Ray that is private, undocumented or moves between versions, in one place."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

QUIET = {
    # Without it, and before `import ray` in every process, Ray 2.60 listens on all interfaces.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def quiet_environment() -> None:
    """Set before Ray is imported for the first time; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def protect_token_file() -> None:
    """Ray 2.60 writes its token readable by everybody; only its owner needs it."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if token.is_file() and token.stat().st_uid == os.getuid():
        token.chmod(0o600)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Ray 2.60 announces its token mode through a logger of its own, whatever ``logging_level`` says."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray._private", "ray._private.worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def bind_to_loopback() -> None:
    """For a Ray that was imported before dfbatch, and so without our environment: its constant is set already."""
    from ray._private import ray_constants

    if os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0":
        ray_constants.ENABLE_RAY_CLUSTER = False


def silence_raylet() -> None:
    """A worker that dies is told by dfbatch; Ray would print it into the notebook even with log_to_driver=False."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def logs_folder() -> str | None:
    """Where the Ray session of this node keeps its logs, or None if that is not known."""
    from ray._private import worker

    node: Any = getattr(worker, "_global_node", None)
    return None if node is None else str(node.get_logs_dir_path())


def short_temp_dir() -> str:
    """Unix sockets have short names: a folder whose path leaves room for Ray's."""
    parent = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.path.isdir("/tmp") else None)
    return tempfile.mkdtemp(prefix="dfb-", dir=parent)


def root_cause(error: Any) -> BaseException | None:
    """The exception that a remote call raised, out of Ray's wrapper."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else None


def why_no_runtime_env(env: Mapping[str, Any]) -> str | None:
    """Why Ray would refuse this runtime environment, or None."""
    from ray.runtime_env import RuntimeEnv

    try:
        RuntimeEnv(**env)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, OSError) as error:
        return f"is refused by Ray: {str(error).strip() or type(error).__name__}"
    return None


def autoscaler_facts() -> tuple[bool, list[dict[str, float]]]:
    """Whether nodes may be added to this cluster by themselves, and what those would have, as far as that is known.

    Clusters that tell Ray their node groups are believed. Otherwise an autoscaler shows itself by the types of its
    nodes: those of nodes that somebody started by hand have no type, or one that only repeats the node's id.
    """
    from ray._private import ray_constants
    from ray._private.state import state
    from ray._private.worker import global_worker
    from ray.core.generated import autoscaler_pb2
    from ray.experimental.internal_kv import _internal_kv_get

    worker: Any = global_worker
    messages: Any = autoscaler_pb2
    config = state.get_cluster_config()
    groups = [g for g in config.node_group_configs if g.max_count] if config is not None else []
    if groups:
        return True, [{name: float(amount) for name, amount in g.resources.items()} for g in groups]
    report = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    known = json.loads(report).get("autoscaler_report", {}) if report else {}
    types = {*known.get("active_nodes", {}), *known.get("pending_launches", {})}
    reply = messages.GetClusterResourceStateReply()
    reply.ParseFromString(worker.gcs_client.get_cluster_resource_state())
    types |= {node.ray_node_type_name for node in reply.cluster_resource_state.node_states}
    return any(kind and not kind.startswith("node_") for kind in types), []


def killed_for_memory(worker_id: str) -> str | None:
    """What Ray wrote when it killed this process because its node ran low on memory; None if it did not kill it so."""
    from ray import WorkerID
    from ray._private.state import state
    from ray.core.generated import common_pb2, gcs_pb2

    accessor: Any = state._connect_and_get_accessor()
    tables: Any = gcs_pb2
    reasons: Any = common_pb2
    found = accessor.get_worker_info(WorkerID.from_hex(worker_id))
    row = tables.WorkerTableData.FromString(found) if found else None
    if row is None or row.is_alive or row.exit_type != reasons.NODE_OUT_OF_MEMORY:
        return None
    return str(row.exit_detail)
