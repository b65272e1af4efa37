"""ListPartitionReassignments (46), version 0: the partitions that are on their way to other brokers.

Versions: v0, flexible. Null asks for all; a partition that is not moving is left out, also one that does not exist. No
partition moves before replication exists, so the list is empty.
Deviations: none.
"""

from __future__ import annotations

from typing import Any

from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.LIST_PARTITION_REASSIGNMENTS


def handle(request: Request, message: Any, services: Services) -> Any:
    return m.ListPartitionReassignmentsResponse(error_message=None, topics=[])
