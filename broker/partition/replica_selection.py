"""Which replica a consumer should read from (KIP-392), as the leader decides it. Pure.

The rack-aware choice is Kafka's: the leader if it is in the consumer's rack, else of the followers there the one that has
most. Only in-sync followers that have the offset asked for count, so that nobody is sent where he has to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from broker.partition.state import PartitionState
from broker.types import NO_LEADER, BrokerId, Offset

if TYPE_CHECKING:
    from broker.cluster.image import BrokerImage


def preferred_read_replica(
    state: PartitionState, brokers: Mapping[BrokerId, BrokerImage], rack: str, offset: Offset
) -> BrokerId:
    """A follower in ``rack`` that can serve ``offset``; -1: stay with the leader."""
    leader = brokers.get(state.node_id)
    if not state.is_leader or leader is None or leader.rack == rack:
        return NO_LEADER
    best, best_rank = NO_LEADER, (-1, 0, 0)
    for replica, follower in state.followers.items():
        broker = brokers.get(replica)
        if (
            broker is not None
            and broker.rack == rack
            and replica in state.isr
            and follower.log_start_offset <= offset <= follower.log_end_offset
        ):
            rank = (follower.log_end_offset, follower.caught_up_ms, -replica)
            if rank > best_rank:
                best, best_rank = replica, rank
    return best
