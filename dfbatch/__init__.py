"""dfbatch: verify the authenticity of media in batches, on Ray, from a notebook.

    import dfbatch
    client = dfbatch.connect()
    batch = client.verify("photos/")
    batch.results().to_pandas()

Importing it is cheap: everything but the errors is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dfbatch.errors import (
    BatchFailed,
    BreakerOpen,
    ClientClosed,
    ClusterUnreachable,
    CommitUnknown,
    ConnectError,
    DependencyUnavailable,
    DfbatchError,
    DifferentConnection,
    GpuOutOfMemory,
    HostOutOfMemory,
    IllegalTransition,
    InvalidInput,
    InvalidType,
    ItemError,
    ItemTimeout,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    KeyConflict,
    LedgerCorrupt,
    LedgerError,
    LedgerFenced,
    LedgerTooNew,
    ManagerError,
    ManagerRecovering,
    ManagerUnavailable,
    MediaEmpty,
    MediaError,
    MediaMissing,
    MediaNotPermitted,
    MediaNotWhatItsNameSays,
    MediaTooLarge,
    MediaTooLong,
    MediaTooManyPixels,
    MediaTruncated,
    MediaUnreadable,
    MediaUnsupported,
    OutputInvalid,
    ProducerLost,
    QueueFull,
    ResourcesUnavailable,
    StorageInUse,
    StorageRefused,
    StorageUnusable,
    TimeoutError,
    TransientError,
    UnknownId,
    VerifierUnusable,
    VersionMismatch,
    WorkerCrash,
)
from dfbatch.version import __version__

if TYPE_CHECKING:
    from dfbatch.authenticity.authenticator import ContentAuthenticator
    from dfbatch.client.batch import Batch
    from dfbatch.client.client import Client, connect
    from dfbatch.client.health import Health
    from dfbatch.client.job import Job
    from dfbatch.client.queue import Queue
    from dfbatch.client.results import Results
    from dfbatch.client.waiting import as_completed, wait
    from dfbatch.core.progress import ProgressSnapshot
    from dfbatch.core.retry import Retry
    from dfbatch.core.states import BatchState, JobState, WorkerState

_LAZY = {
    "Batch": "dfbatch.client.batch",
    "BatchState": "dfbatch.core.states",
    "Client": "dfbatch.client.client",
    "ContentAuthenticator": "dfbatch.authenticity.authenticator",
    "Health": "dfbatch.client.health",
    "Job": "dfbatch.client.job",
    "JobState": "dfbatch.core.states",
    "ProgressSnapshot": "dfbatch.core.progress",
    "Queue": "dfbatch.client.queue",
    "Results": "dfbatch.client.results",
    "Retry": "dfbatch.core.retry",
    "WorkerState": "dfbatch.core.states",
    "as_completed": "dfbatch.client.waiting",
    "connect": "dfbatch.client.client",
    "wait": "dfbatch.client.waiting",
}
"""Public name to the module that holds it; the same names as under TYPE_CHECKING."""

__all__ = [
    "Batch",
    "BatchFailed",
    "BatchState",
    "BreakerOpen",
    "Client",
    "ClientClosed",
    "ClusterUnreachable",
    "CommitUnknown",
    "ConnectError",
    "ContentAuthenticator",
    "DependencyUnavailable",
    "DfbatchError",
    "DifferentConnection",
    "GpuOutOfMemory",
    "Health",
    "HostOutOfMemory",
    "IllegalTransition",
    "InvalidInput",
    "InvalidType",
    "ItemError",
    "ItemTimeout",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobState",
    "KeyConflict",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerFenced",
    "LedgerTooNew",
    "ManagerError",
    "ManagerRecovering",
    "ManagerUnavailable",
    "MediaEmpty",
    "MediaError",
    "MediaMissing",
    "MediaNotPermitted",
    "MediaNotWhatItsNameSays",
    "MediaTooLarge",
    "MediaTooLong",
    "MediaTooManyPixels",
    "MediaTruncated",
    "MediaUnreadable",
    "MediaUnsupported",
    "OutputInvalid",
    "ProducerLost",
    "ProgressSnapshot",
    "Queue",
    "QueueFull",
    "ResourcesUnavailable",
    "Results",
    "Retry",
    "StorageInUse",
    "StorageRefused",
    "StorageUnusable",
    "TimeoutError",
    "TransientError",
    "UnknownId",
    "VerifierUnusable",
    "VersionMismatch",
    "WorkerCrash",
    "WorkerState",
    "__version__",
    "as_completed",
    "connect",
    "wait",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'dfbatch' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
