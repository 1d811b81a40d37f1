"""What is written about items whose dependency stayed away until they had gone back too often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from dfbatch.actors.messages import Outcomes
from dfbatch.core.effects import OutcomesTaken
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.states import JobState
from dfbatch.errors import DependencyUnavailable


def told_as_unavailable(effect: OutcomesTaken) -> OutcomesTaken:
    """The same effect; jobs that an open breaker ended say ``DependencyUnavailable``, with their last error."""
    over = (effect.error_class == ErrorClass.BREAKER_OPEN) & (effect.state == JobState.FAILED.code)
    outcomes: Outcomes = effect.payload
    if not over.any() or outcomes.failures is None:
        return effect
    failures = outcomes.failures
    mine = np.isin(failures.column("position").to_numpy(), effect.positions[over])
    kinds, texts = failures.column("error_type").to_pylist(), failures.column("error_message").to_pylist()
    for k in np.flatnonzero(mine).tolist():
        texts[k] = (
            f"What it depends on did not answer, so the item went back as often as max_returns allows. The last error: "
            f"{kinds[k]}: {texts[k]} Bring the service back, then redrive with batch.retry_failed()."
        )
        kinds[k] = DependencyUnavailable.__name__
    for name, values in (("error_type", kinds), ("error_message", texts)):
        failures = failures.set_column(failures.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return replace(effect, payload=replace(outcomes, failures=failures))
