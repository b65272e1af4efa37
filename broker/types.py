"""Vocabulary shared by every layer: identifiers and the offsets' special values.

Owns no behaviour. Offsets, epochs and ids are plain ``int`` on the hot path; the aliases below say which
is meant. Topic ids are 16 raw bytes (Kafka's UUID on the wire), never ``uuid.UUID``: they are dictionary
keys on the produce and fetch path.
"""

from __future__ import annotations

import base64
import secrets
from typing import NamedTuple, TypeAlias

BrokerId: TypeAlias = int
Offset: TypeAlias = int
"""A record's position in its partition; ``log_end_offset`` is the next one to be written."""
LeaderEpoch: TypeAlias = int
ProducerId: TypeAlias = int
ProducerEpoch: TypeAlias = int
TimestampMs: TypeAlias = int
"""Milliseconds since the Unix epoch; -1 means no timestamp."""
TopicId: TypeAlias = bytes
Buffer: TypeAlias = bytes | bytearray | memoryview

ZERO_TOPIC_ID: TopicId = bytes(16)
NO_LEADER: BrokerId = -1
NO_EPOCH: LeaderEpoch = -1
NO_OFFSET: Offset = -1
NO_TIMESTAMP: TimestampMs = -1
NO_PRODUCER_ID: ProducerId = -1

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC})


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def new_topic_id() -> TopicId:
    """A random topic id that is neither zero nor starts with ``-`` when written (as Kafka's Uuid does)."""
    while True:
        candidate = secrets.token_bytes(16)
        if candidate != ZERO_TOPIC_ID and not format_topic_id(candidate).startswith("-"):
            return candidate


def format_topic_id(topic_id: TopicId) -> str:
    """URL-safe base64 without padding, the form Kafka's tools print."""
    return base64.urlsafe_b64encode(topic_id).rstrip(b"=").decode()


def parse_topic_id(text: str) -> TopicId:
    """Inverse of ``format_topic_id``. Raises ``ValueError`` on anything that is not 16 bytes."""
    raw = base64.urlsafe_b64decode(text + "==")
    if len(raw) != 16:
        raise ValueError(f"not a topic id: {text!r}")
    return raw
