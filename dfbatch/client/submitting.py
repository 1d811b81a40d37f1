"""From what the user hands in to a batch: pack, store by address, submit."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from dfbatch.actors.messages import Submit
from dfbatch.actors.verifier_code import PackedVerifier
from dfbatch.client.batch import Batch
from dfbatch.client.code_changes import warn_if_code_changed
from dfbatch.client.feeding import Feeder
from dfbatch.client.options import SubmitOptions
from dfbatch.client.resources import shape_of
from dfbatch.client.session import Session
from dfbatch.client.sources import Payload, Stream
from dfbatch.errors import StorageInUse
from dfbatch.ledger import blobs
from dfbatch.version import __version__


def submit(
    session: Session, kind: str, packed: PackedVerifier, source: Payload | Stream, options: SubmitOptions
) -> Batch:
    """Make a batch of ``source``; returns when it is durable. A stream goes on being read in a thread."""
    shape = shape_of(packed.resources, options.resources).declared()
    session.check_open()
    if session.link is None:  # said before anything is stored
        raise StorageInUse(session.held_by)
    verifier_sha = _store_verifier(session, packed.data)
    if isinstance(source, Payload):
        message = _message(kind, packed, source, options, shape, sealed=True)
        _store_blobs(session, source)
        batch_id = session.call("submit", message, verifier_sha, timeout_s=120.0)
        warn_if_code_changed(session, packed, batch_id)
        return Batch(session, batch_id, source.n)
    feeder = Feeder(session, source)
    try:
        first = feeder.first()
        message = _message(kind, packed, first, options, shape, sealed=False)
        batch_id = session.call("submit", message, verifier_sha, timeout_s=120.0)
        if _is_repeat(session, batch_id, message):
            feeder.close()
        else:
            feeder.start(batch_id, first.n, options.policy)
    except BaseException:
        feeder.close()
        raise
    warn_if_code_changed(session, packed, batch_id)
    return Batch(session, batch_id)


def _message(
    kind: str, packed: PackedVerifier, first: Payload, options: SubmitOptions, shape: dict[str, Any], *, sealed: bool
) -> Submit:
    return Submit(
        submit_id=secrets.token_hex(16),
        kind=kind,
        n_jobs=first.n,
        jobs=first.jobs(),
        inputs=first.inputs,
        items=first.items,
        verifier=b"",
        verifier_name=packed.name,
        verifier_fingerprint=packed.fingerprint,
        options=options.as_json(),
        content=_content(packed, first, sealed),
        client_version=__version__,
        name=options.name,
        key=options.key,
        queue=options.queue,
        priority=options.priority,
        shape=shape,
        sealed=sealed,
    )


def _is_repeat(session: Session, batch_id: str, message: Submit) -> bool:
    """True if the key led to an earlier batch, which has a stream of its own."""
    if message.key is None:
        return False
    rows = session.reader.read("batches", batch_id=batch_id, columns=["batch_id", "submit_id"]).to_pylist()
    return any(row["submit_id"] != message.submit_id for row in rows)


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


def _content(packed: PackedVerifier, payload: Payload, whole: bool) -> str:
    """A fingerprint of the work, so that a repeat of a key can be told from a conflict.

    Of a stream (not ``whole``) only the columns count: how much of it the first slice holds is chance.
    """
    digest = hashlib.sha256(packed.fingerprint.encode())
    digest.update(str(payload.n if whole else "stream").encode())
    for table in (payload.jobs(), payload.inputs):
        if table is not None:
            head = table.slice(0, 1000 if whole else 0).combine_chunks()
            digest.update(str(head.schema).encode())
            for batch in head.to_batches():
                digest.update(batch.serialize())
    return digest.hexdigest()[:32]
