"""From what the user hands in to a batch: pack, store by address, submit, and feed streams."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time

import pyarrow as pa

from dfbatch.actors.messages import Submit
from dfbatch.actors.verifier_code import PackedVerifier
from dfbatch.client.batch import Batch
from dfbatch.client.options import SubmitOptions
from dfbatch.client.session import Session
from dfbatch.client.sources import Payload, Stream
from dfbatch.core.states import BatchState
from dfbatch.errors import DfbatchError, InvalidInput, QueueFull, StorageRefused
from dfbatch.ledger import blobs
from dfbatch.version import __version__

MOST_QUEUED = 50_000
"""A streamed batch takes no more while this many of its jobs wait: that is the back-pressure on its source."""
_POLL_S = 0.1
_WAITING = ("queued", "scheduled", "paused", "retrying")
_logger = logging.getLogger("dfbatch.client")


def submit(
    session: Session, kind: str, packed: PackedVerifier, source: Payload | Stream, options: SubmitOptions
) -> Batch:
    """Make a batch of ``source``; returns when it is durable. A stream goes on being read in a thread."""
    _check_resources(packed)
    session.check_open()
    session.call("health")
    verifier_sha = _store_verifier(session, packed.data)
    first = source if isinstance(source, Payload) else next(source, None)
    if first is None:
        raise InvalidInput("source", "is a stream without a single item", "Give at least one")
    _store_blobs(session, first)
    is_stream = isinstance(source, Stream)
    message = Submit(
        submit_id=secrets.token_hex(16),
        kind=kind,
        n_jobs=first.n,
        jobs=jobs_table(first),
        inputs=first.inputs,
        items=first.items,
        verifier=b"",
        verifier_name=packed.name,
        verifier_fingerprint=packed.fingerprint,
        options=options.as_json(),
        content=_content(packed, first),
        client_version=__version__,
        name=options.name,
        key=options.key,
        queue=options.queue,
        priority=options.priority,
        sealed=not is_stream,
    )
    batch_id = session.call("submit", message, verifier_sha, timeout_s=120.0)
    if isinstance(source, Stream):
        feeder = threading.Thread(
            target=_feed, args=(session, batch_id, source, first.n), name=f"dfbatch-feed-{batch_id}", daemon=True
        )
        feeder.start()
        return Batch(session, batch_id)
    return Batch(session, batch_id, first.n)


def jobs_table(payload: Payload) -> pa.Table | None:
    """The columns ``uri, blob, filename`` that the payload has; None if it has none."""
    columns = {"uri": payload.uris, "blob": payload.blobs, "filename": payload.filenames}
    given = {name: column for name, column in columns.items() if column is not None}
    return pa.table(given) if given else None


def _feed(session: Session, batch_id: str, stream: Stream, n: int) -> None:
    """Extend the batch slice by slice, as fast as it is worked off, and seal it at the end."""
    reason = None
    try:
        with stream:
            for payload in stream:
                _store_blobs(session, payload)
                if not _wait_for_room(session, batch_id):
                    return
                n = _extend(session, batch_id, payload, n)
    except DfbatchError as error:
        reason = str(error)
        if not session.closed:
            _logger.error("Batch %s could not be fed any more: %s", batch_id, error)
    except Exception as error:
        reason = f"The source raised {type(error).__name__}: {error}"
        _logger.exception("The source of batch %s failed", batch_id)
    try:
        session.call("seal", batch_id, reason)
    except DfbatchError as error:
        if not session.closed:
            _logger.error("Batch %s could not be sealed: %s", batch_id, error)


def _wait_for_room(session: Session, batch_id: str) -> bool:
    """Waits while too many jobs wait; False if the batch was stopped and takes no more."""
    while True:
        snapshot = session.progress(batch_id)
        if snapshot.status.is_terminal or snapshot.status is BatchState.CANCELLING:
            return False
        if sum(snapshot.counts.get(state, 0) for state in _WAITING) <= MOST_QUEUED:
            return True
        time.sleep(_POLL_S)


def _extend(session: Session, batch_id: str, payload: Payload, n: int) -> int:
    """Add a slice after the first ``n`` jobs; while the queue is full or the ledger refuses, again and again."""
    while True:
        try:
            have: int = session.call("extend", batch_id, payload.n, n, jobs_table(payload), payload.inputs)
        except (QueueFull, StorageRefused) as error:
            _logger.debug("Batch %s is not extended yet: %s", batch_id, error)
            time.sleep(_POLL_S)
        else:
            return have


def _store_verifier(session: Session, data: bytes) -> str:
    """Its SHA-256. What this session has stored once is not synced to the disk again."""
    sha = hashlib.sha256(data).hexdigest()
    if sha not in session.stored_verifiers:
        blobs.put(session.storage, data, "verifiers")
        session.stored_verifiers.add(sha)
    return sha


def _store_blobs(session: Session, payload: Payload) -> None:
    """Bytes given by value are in the ledger before the submit is acknowledged."""
    for data in payload.new_blobs.values():
        blobs.put(session.storage, data)


def _check_resources(packed: PackedVerifier) -> None:
    more = {k: v for k, v in packed.resources.items() if not (k == "num_cpus" and v <= 1) and v}
    if more:
        name, value = next(iter(more.items()))
        raise InvalidInput(
            f"verifier.{name}",
            f"asks for {value!r}, but workers of this version have one CPU each and nothing else",
            "Leave the declaration out, or run on workers that have what it needs anyway",
        )


def _content(packed: PackedVerifier, payload: Payload) -> str:
    """A fingerprint of the work, so that a repeat of a key can be told from a conflict."""
    digest = hashlib.sha256(packed.fingerprint.encode())
    digest.update(str(payload.n).encode())
    for table in (jobs_table(payload), payload.inputs):
        if table is not None:
            head = table.slice(0, 1000).combine_chunks()
            for batch in head.to_batches():
                digest.update(batch.serialize())
    return digest.hexdigest()[:32]
