"""Where a leader's log starts and ends: asked when a follower has asked for what is outside of it.

Two ListOffsets requests, fenced by the leader epoch. The end may have grown since; that does no harm, because whatever is
fetched next is compared by epoch again.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.replication.ports import PeerRequests
from broker.types import BrokerId, LeaderEpoch, Offset, TopicPartition

VERSION = 9
EARLIEST, LATEST = -2, -1
LOG_END_REPLICA_ID = -2
"""As Kafka's tools ask: up to the log end instead of the high watermark."""


async def ask_leader_range(
    peers: PeerRequests, leader: BrokerId, topic_partition: TopicPartition, leader_epoch: LeaderEpoch
) -> tuple[Offset, Offset]:
    """(log start, log end) of the leader. Raises ``KafkaError``."""
    # The end first: in this order a log that is deleted and filled meanwhile still has start ≤ end.
    end = await _ask(peers, leader, topic_partition, leader_epoch, LATEST)
    start = await _ask(peers, leader, topic_partition, leader_epoch, EARLIEST)
    return start, max(start, end)


async def _ask(
    peers: PeerRequests, leader: BrokerId, topic_partition: TopicPartition, leader_epoch: LeaderEpoch, timestamp: int
) -> Offset:
    topic, partition = topic_partition
    entry = m.ListOffsetsRequest.ListOffsetsPartition(
        partition_index=partition, current_leader_epoch=leader_epoch, timestamp=timestamp
    )
    request = m.ListOffsetsRequest(
        replica_id=LOG_END_REPLICA_ID,
        isolation_level=0,
        topics=[m.ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[entry])],
    )
    answer: Any = await peers.request(leader, ApiKey.LIST_OFFSETS, VERSION, request)
    found = answer.topics[0].partitions[0]
    if found.error_code:
        raise KafkaError(ErrorCode(found.error_code))
    offset: Offset = found.offset
    return offset
