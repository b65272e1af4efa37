"""The names of the Celery queues, and which of them a worker on a machine consumes. Imports nothing of Celery.

The common queue carries what any worker can do. What needs a broker's files goes to that broker's own queue, consumed
only on its machine.
"""

from __future__ import annotations

from collections.abc import Iterable

COMMON_QUEUE = "ottla"


def maintenance_queue(broker_id: int) -> str:
    return f"maintenance.{broker_id}"


def queues_on_machine_of(broker_ids: Iterable[int]) -> list[str]:
    """For a worker on the machine of these brokers."""
    return [COMMON_QUEUE, *map(maintenance_queue, broker_ids)]
