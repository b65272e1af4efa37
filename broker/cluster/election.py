"""What an operator's request for an election comes to, partition by partition.

Pure. The controller elects by itself whoever may lead, at the moment it may: the present leader while it lives, else an
in-sync replica that does. So a request never finds an election that is due and not done; it is told why there is none.
"""

from __future__ import annotations

from broker.cluster.image import ClusterImage
from broker.errors import ErrorCode, KafkaError


def refuse_election(image: ClusterImage, topic: str, partition: int, *, unclean: bool) -> KafkaError:
    """Why the partition gets no other leader."""
    found = image.topics_by_name.get(topic)
    if found is None:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {topic}")
    if not 0 <= partition < len(found.partitions):
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {topic}-{partition}")
    state = found.partitions[partition]
    led = state.leader in image.brokers
    if led and (unclean or state.leader == state.replicas[0]):
        return KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
    if unclean:
        return KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "No replica of the partition is alive.")
    return KafkaError(
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, f"Broker {state.replicas[0]} is not alive, or not in sync."
    )
