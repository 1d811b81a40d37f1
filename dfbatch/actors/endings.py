"""How processes of workers were ended, as Ray remembers it.

The caller of a restarted actor only hears that it was restarted. Whether its node's
memory monitor had killed it is in Ray's table of processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from dfbatch.actors.manager_base import PoolPort
from dfbatch.actors.messages import Hello
from dfbatch.actors.ray_compat import killed_for_memory
from dfbatch.core.books import Worker
from dfbatch.core.death import Death, death_by_notice

PATIENCE_S = 5.0
"""Ray answers within milliseconds; while its head is away nobody waits for it longer."""
_logger = logging.getLogger("dfbatch.manager")


async def ending_of(incarnation: str) -> str | None:
    """Ray's words if its memory monitor ended this process, a worker id in hex; None if it did not, or nobody knows."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(killed_for_memory, incarnation), PATIENCE_S)
    except Exception as error:  # a part of Ray that is not public: a worker must not be lost because it has changed
        _logger.warning("How process %s ended is not known: %s: %s", incarnation, type(error).__name__, error)
        return None


async def last_death_of(workers: Mapping[str, Worker], message: Hello, pool: PoolPort) -> Death | None:
    """How the process before this one ended: as it left word itself, else as its pool knows."""
    old = workers.get(message.worker)
    if message.death is not None or old is None or old.incarnation == message.incarnation or not old.leases:
        return message.death
    told = await pool.ending_of(old.name, old.incarnation)
    return None if told is None else death_by_notice(told)
