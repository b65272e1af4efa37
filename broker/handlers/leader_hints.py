"""Where the leader is (KIP-951): told with NOT_LEADER_OR_FOLLOWER, so that a client need not ask for metadata first.

Used by Produce and Fetch. A wrong hint is worse than none, so it is given only for a leader that lives, as the image of
this moment has it, and with an address of the listener the request came in by.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.handlers.topology import endpoints
from broker.types import BrokerId, TopicId

HINTS_IN_PRODUCE_FROM = 10
HINTS_IN_FETCH_FROM = 16
"""The partition's field exists since v12, but without endpoints it helps nobody; Kafka fills it from v16 as well."""

LeaderHint = tuple[BrokerId, int]
"""(leader, leader epoch)"""
NodeEndpoint = tuple[BrokerId, str, int, str | None]
"""(id, host, port, rack)"""

_WORTH_A_HINT = frozenset((ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH))


def current_leader(
    services: Services, name: str | None, topic_id: TopicId | None, partition: int, code: int
) -> LeaderHint | None:
    """The leader to go to instead, if ``code`` is about leadership and there is one."""
    if code not in _WORTH_A_HINT:
        return None
    image = services.cluster.image
    topic = image.topics_by_id.get(topic_id) if topic_id is not None else image.topics_by_name.get(name or "")
    if topic is None or not 0 <= partition < len(topic.partitions):
        return None
    found = topic.partitions[partition]
    return (found.leader, found.leader_epoch) if found.leader in image.brokers else None


def node_endpoints(request: Request, services: Services, leaders: Iterable[BrokerId]) -> list[NodeEndpoint]:
    """The addresses of ``leaders``."""
    wanted = set(leaders)
    if not wanted:
        return []
    return [
        (endpoint.id, endpoint.host, endpoint.port, endpoint.rack)
        for endpoint in endpoints(request, services)
        if endpoint.id in wanted
    ]
