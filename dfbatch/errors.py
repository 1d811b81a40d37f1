"""Every error dfbatch raises or records, as one tree.

    DfbatchError
    ├── InvalidInput (ValueError)          a wrong argument, said at the call
    │   └── InvalidType (TypeError)
    ├── UnknownId (KeyError)               no such batch, job, queue or worker
    ├── KeyConflict                        the same key with other work
    ├── QueueFull                          nothing of the submit was accepted
    ├── ResourcesUnavailable               no node of the cluster could ever run the work
    ├── TimeoutError (TimeoutError)        waiting ended, the work goes on
    ├── ConnectError
    │   ├── ClusterUnreachable
    │   ├── StorageUnusable
    │   ├── StorageInUse                   another process owns the ledger
    │   ├── DifferentConnection            connect() again with other arguments
    │   ├── VersionMismatch
    │   └── ClientClosed
    ├── ManagerError
    │   ├── ManagerRecovering              come again after ``retry_after_s``
    │   └── ManagerUnavailable
    ├── LedgerError
    │   ├── LedgerCorrupt
    │   ├── LedgerTooNew
    │   ├── LedgerFenced                   a newer manager owns the tables
    │   └── StorageRefused                 a write failed; nothing was dropped
    │       └── CommitUnknown              it may be durable or not; trying again tells
    ├── IllegalTransition                  a broken rule inside dfbatch
    ├── JobError                           what ``Job.result()`` raises
    │   ├── JobFailed
    │   ├── JobCancelled
    │   └── JobExpired
    ├── BatchFailed                        ``raise_for_failures()``
    ├── TransientError                     for user code: please retry
    ├── BreakerOpen                        the item goes back unharmed
    └── ItemError                          why an item has no outcome; ``permanent`` says if a retry is useless
        ├── MediaError
        │   ├── MediaMissing
        │   ├── MediaNotPermitted
        │   ├── MediaUnreadable
        │   ├── MediaEmpty
        │   ├── MediaTruncated
        │   ├── MediaNotWhatItsNameSays
        │   ├── MediaUnsupported
        │   ├── MediaTooLarge
        │   ├── MediaTooManyPixels
        │   └── MediaTooLong
        ├── VerifierUnusable
        ├── OutputInvalid
        ├── DependencyUnavailable
        ├── ItemTimeout
        ├── HostOutOfMemory
        ├── GpuOutOfMemory
        ├── ProducerLost
        └── WorkerCrash

All of them pickle: each takes positional arguments only and hands every one to
``super().__init__``; the text is built in ``__str__``.
"""

from __future__ import annotations

import builtins


class DfbatchError(Exception):
    """Root of the tree. The first argument is a sentence that says what to do next."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__doc__ or type(self).__name__


class InvalidInput(DfbatchError, ValueError):
    """A wrong argument: ``InvalidInput(argument, problem, remedy)``."""

    def __init__(self, argument: str, problem: str, remedy: str = "") -> None:
        super().__init__(argument, problem, remedy)
        self.argument = argument
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.argument}: {self.problem}." + (f" {self.remedy}." if self.remedy else "")


class InvalidType(InvalidInput, TypeError):
    """An argument or item of a type that dfbatch cannot carry."""


class UnknownId(DfbatchError, KeyError):
    """No batch, job, queue or worker has this id."""

    def __str__(self) -> str:
        return DfbatchError.__str__(self)


class KeyConflict(DfbatchError):
    """The idempotency key belongs to a batch with other work."""


class QueueFull(DfbatchError):
    """``QueueFull(queue, length, limit, asked)``: nothing of this submit was accepted."""

    def __init__(self, queue: str, length: int, limit: int, asked: int) -> None:
        super().__init__(queue, length, limit, asked)
        self.queue, self.length, self.limit, self.asked = queue, length, limit, asked

    def __str__(self) -> str:
        return (
            f"Queue '{self.queue}' holds {self.length:,} of at most {self.limit:,} jobs, so {self.asked:,} more "
            f"were not accepted. Wait until it drains, or raise max_length with "
            f"client.queue('{self.queue}').set_policy(max_length=...)."
        )


class ResourcesUnavailable(DfbatchError):
    """No node has, or could get, what a worker of the batch needs; nothing of the submit was accepted."""


class TimeoutError(DfbatchError, builtins.TimeoutError):
    """Waiting ended before the work did; the work goes on."""


class ConnectError(DfbatchError):
    """The client could not be set up; nothing was accepted."""


class ClusterUnreachable(ConnectError):
    """No Ray cluster answered at the address."""


class StorageUnusable(ConnectError):
    """The storage path cannot be read and written from where the work would run."""


class StorageInUse(ConnectError):
    """The ledger is managed by another process."""


class DifferentConnection(ConnectError):
    """A client with other arguments is open in this process."""


class VersionMismatch(ConnectError):
    """Client and manager are of different dfbatch versions."""


class ClientClosed(ConnectError):
    """This client was closed; call ``dfbatch.connect()`` for a new one."""


class ManagerError(DfbatchError):
    """The manager could not answer."""


class ManagerRecovering(ManagerError):
    """``ManagerRecovering(retry_after_s, reason)``: the manager replays its ledger."""

    def __init__(self, retry_after_s: float, reason: str = "") -> None:
        super().__init__(retry_after_s, reason)
        self.retry_after_s = retry_after_s
        self.reason = reason

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"The manager is recovering{why}; try again in {self.retry_after_s:g} s."


class ManagerUnavailable(ManagerError):
    """The manager did not come back in time; committed results are safe in the ledger."""


class LedgerError(DfbatchError):
    """The ledger could not be used."""


class LedgerCorrupt(LedgerError):
    """A part of the ledger is damaged; the message names the file."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer dfbatch."""


class LedgerFenced(LedgerError):
    """``LedgerFenced(table, own_epoch, other_epoch)``: a newer manager owns the ledger."""

    def __init__(self, table: str, own_epoch: int, other_epoch: int) -> None:
        super().__init__(table, own_epoch, other_epoch)
        self.table, self.own_epoch, self.other_epoch = table, own_epoch, other_epoch

    def __str__(self) -> str:
        return (
            f"This ledger belongs to the manager of epoch {self.other_epoch} by now; the one of epoch {self.own_epoch} "
            f"noticed at its table '{self.table}' and has ended. Nothing that was acknowledged is lost. "
            f"Connect again to reach the new manager."
        )


class StorageRefused(LedgerError):
    """A write to the ledger failed; the rows are kept and tried again."""


class CommitUnknown(StorageRefused):
    """It cannot be told yet whether a commit is in the ledger for good; the same commit once more tells."""


class IllegalTransition(DfbatchError):
    """``IllegalTransition(subject, start, finish, story)``: a state change no rule allows."""

    def __init__(self, subject: str, start: str, finish: str, story: tuple[str, ...] = ()) -> None:
        super().__init__(subject, start, finish, story)
        self.subject, self.start, self.finish, self.story = subject, start, finish, story

    def __str__(self) -> str:
        return f"{self.subject} cannot go from {self.start} to {self.finish}. Its story: " + " > ".join(self.story)


class JobError(DfbatchError):
    """``JobError(job_id, error_type, error_message, traceback_text, attempts)``: a job without a result."""

    def __init__(
        self,
        job_id: str,
        error_type: str = "",
        error_message: str = "",
        traceback_text: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(job_id, error_type, error_message, traceback_text, attempts)
        self.job_id = job_id
        self.error_type = error_type
        self.error_message = error_message
        self.traceback_text = traceback_text
        self.attempts = attempts

    @property
    def batch_id(self) -> str:
        """The id of the batch the job belongs to."""
        return self.job_id.partition("-")[0]

    def __str__(self) -> str:
        tried = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"Job {self.job_id} failed{tried}: {self.error_type}: {self.error_message}"

    def _render_traceback_(self) -> list[str]:
        """What IPython prints: the cleaned traceback of the worker, not of the client."""
        return [self.traceback_text, str(self)] if self.traceback_text else [str(self)]


class JobFailed(JobError):
    """The job failed; the message is that of the last attempt."""


class JobCancelled(JobError):
    """The job was cancelled before it had a result."""

    def __str__(self) -> str:
        return f"Job {self.job_id} was cancelled" + (f": {self.error_message}" if self.error_message else ".")


class JobExpired(JobError):
    """The deadline of the batch passed before the job had a result."""

    def __str__(self) -> str:
        return f"Job {self.job_id} expired: the deadline of its batch passed."


class BatchFailed(DfbatchError):
    """``BatchFailed(batch_id, n_failed, n_jobs, first)``: some jobs of a batch failed."""

    def __init__(self, batch_id: str, n_failed: int, n_jobs: int, first: str = "") -> None:
        super().__init__(batch_id, n_failed, n_jobs, first)
        self.batch_id, self.n_failed, self.n_jobs, self.first = batch_id, n_failed, n_jobs, first

    def __str__(self) -> str:
        first = f" The first: {self.first}." if self.first else ""
        return (
            f"{self.n_failed:,} of {self.n_jobs:,} jobs of batch {self.batch_id} failed.{first} "
            f"See batch.failures(), or run them again with batch.retry_failed()."
        )


class TransientError(DfbatchError):
    """Raise it, or a subclass, in a verifier to have the item tried again."""


class BreakerOpen(DfbatchError):
    """``BreakerOpen(name, retry_after_s)``: the dependency rests; the item goes back unharmed."""

    def __init__(self, name: str, retry_after_s: float = 0.0) -> None:
        super().__init__(name, retry_after_s)
        self.name = name
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"The circuit breaker '{self.name}' is open; it lets a call through in {self.retry_after_s:.1f} s."


class ItemError(DfbatchError):
    """Why one item has no outcome. ``permanent``: trying again cannot help."""

    permanent = True


class MediaError(ItemError):
    """The media file cannot be verified; the message is for an analyst."""


class MediaMissing(MediaError):
    """There is no file at the URI."""


class MediaNotPermitted(MediaError):
    """The worker may not read the file."""


class MediaUnreadable(MediaError):
    """The file is damaged, or its decoder gave up."""


class MediaEmpty(MediaError):
    """The file has no bytes."""


class MediaTruncated(MediaError):
    """The file ends before its content does."""


class MediaNotWhatItsNameSays(MediaError):
    """The name promises media; the bytes are something else."""


class MediaUnsupported(MediaError):
    """The bytes are of a kind that dfbatch does not verify."""


class MediaTooLarge(MediaError):
    """More bytes than the limit."""


class MediaTooManyPixels(MediaError):
    """More pixels than the limit: a decompression bomb, or a picture to be made smaller."""


class MediaTooLong(MediaError):
    """More seconds or frames than the limit."""


class VerifierUnusable(ItemError):
    """The verifier cannot be imported, unpickled or constructed on the worker."""


class OutputInvalid(ItemError):
    """The verifier returned something that does not fit into a table."""


class DependencyUnavailable(ItemError):
    """A dependency stayed down until the item had been returned too often or its deadline passed."""


class ItemTimeout(ItemError):
    """The item took longer than ``timeout_s``."""

    permanent = False


class HostOutOfMemory(ItemError):
    """The worker ran out of memory on this item."""

    permanent = False


class GpuOutOfMemory(ItemError):
    """The accelerator ran out of memory on this item."""

    permanent = False


class ProducerLost(ItemError):
    """The process that streamed items went silent before it sealed the batch."""


class WorkerCrash(ItemError):
    """The worker process died on this item while it ran alone."""

    permanent = False
