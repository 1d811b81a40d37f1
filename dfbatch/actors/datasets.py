"""Tables as Ray Datasets."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray.data


def to_ray(table: pa.Table) -> Any:
    """A Ray Dataset of the rows of ``table``."""
    return ray.data.from_arrow(table)
