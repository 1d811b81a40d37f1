"""What the shell keeps of each batch beside the rules: its row, its order, its items, and what came out so far."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from dfbatch.actors.messages import Outcomes, WorkOrder
from dfbatch.actors.outcome_rows import BatchFacts
from dfbatch.actors.output_types import OutputTypes
from dfbatch.actors.reuse_followers import Followers
from dfbatch.core.effects import OutcomesTaken
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.ledger.payload import PayloadReader
from dfbatch.ledger.payload_memory import PayloadMemory

MOST_ERROR_TYPES = 20


@dataclass(slots=True, eq=False)
class BatchDesk:
    """One batch in the shell. ``row`` is its row in ``batches``."""

    row: dict[str, Any]
    facts: BatchFacts
    order: WorkOrder
    payload: PayloadReader
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    extending: asyncio.Lock = field(default_factory=asyncio.Lock)
    output_types: OutputTypes = field(default_factory=OutputTypes)
    shape: ResourceShape = field(default_factory=ResourceShape)
    followers: Followers | None = None
    """Jobs that wait for an equal one; None unless outcomes are reused."""

    def tally(self, effect: OutcomesTaken, outcomes: Outcomes) -> None:
        """Count verdicts and error types of what was taken; a few microseconds a chunk."""
        if outcomes.report is not None and "verdict" in outcomes.report.column_names:
            for entry in pc.value_counts(outcomes.report.column("verdict")).to_pylist():
                if entry["values"] is not None:
                    self.verdicts[entry["values"]] += entry["counts"]
        if outcomes.failures is not None and effect.state.max() != 0:
            final_failures = effect.state[effect.error_class != 0]
            if len(final_failures):
                for entry in pc.value_counts(outcomes.failures.column("error_type")).to_pylist():
                    if len(self.errors) < MOST_ERROR_TYPES or entry["values"] in self.errors:
                        self.errors[entry["values"]] += entry["counts"]


def desk_of(row: Mapping[str, Any], reader: Any, memory: PayloadMemory) -> BatchDesk:
    """The desk of a batch from its row; ``submitted_at`` is an aware datetime. Its items are kept in ``memory``."""
    options = json.loads(row["options"])
    facts = BatchFacts(
        row["batch_id"],
        row["kind"],
        row["priority"] or 0,
        row["submitted_at"].timestamp(),
        row["verifier_fingerprint"],
    )
    order = WorkOrder(
        row["batch_id"],
        row["kind"],
        row["verifier_sha"],
        row["verifier_name"],
        options.get("items"),
        options,
        row["verifier_fingerprint"],
    )
    payload = PayloadReader(reader, row["batch_id"], row["inputs"], is_media=row["kind"] == "verify", memory=memory)
    return BatchDesk(dict(row), facts, order, payload, shape=ResourceShape.of(options.get("resources", {})))
