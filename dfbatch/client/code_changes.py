"""Telling a user whose class has changed that an earlier batch goes on with the class as it was."""

from __future__ import annotations

import warnings

from dfbatch.actors.verifier_code import PackedVerifier
from dfbatch.client.session import Session


def warn_if_code_changed(session: Session, packed: PackedVerifier, batch_id: str) -> None:
    """Warn, once for each edit, if a batch of this session still runs other code under the name of the verifier."""
    if packed.code is None:
        return
    before = session.code_sent.get(packed.name)
    session.code_sent[packed.name] = (packed.code, batch_id)
    if before is None or before[0] == packed.code or before[1] == batch_id:
        return
    earlier = before[1]
    if session.progress(earlier).status.is_terminal:
        return
    short = packed.name.rpartition(".")[2]
    warnings.warn(
        f"'{short}' has changed since batch {earlier} was submitted, which goes on with the code of then; batch "
        f"{batch_id} runs the code of now. To have all of it run the new code, cancel the earlier batch "
        f"(client.attach('{earlier}').cancel()) and submit its items again.",
        UserWarning,
        stacklevel=4,
    )
