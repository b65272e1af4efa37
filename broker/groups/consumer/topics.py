"""What a coordinator knows of the cluster's topics at one moment, as far as consumer groups need it.

Owns: looking topics up by name and id, and the hash by which a group notices that one of its topics came, went or
grew. Immutable; the driver makes another one only when topics were created, deleted or given more partitions, so a
group that has seen *this object* has nothing to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from broker.types import INTERNAL_TOPICS, TopicId

if TYPE_CHECKING:
    from broker.cluster.image import TopicImage

_HASH_MODULUS = 2**64


class Topics:
    __slots__ = ("_by_id", "_by_name", "version")

    def __init__(
        self, by_name: Mapping[str, TopicImage], by_id: Mapping[TopicId, TopicImage], *, version: int = 0
    ) -> None:
        self._by_name = by_name
        self._by_id = by_id
        self.version = version
        """Grows when topics are created: what was resolved at a lower version may lack some."""

    def topic_id(self, name: str) -> TopicId | None:
        topic = self._by_name.get(name)
        return None if topic is None else topic.topic_id

    def topic_ids(self, names: Iterable[str]) -> frozenset[TopicId]:
        """Of the topics that exist."""
        return frozenset(topic.topic_id for name in names if (topic := self._by_name.get(name)) is not None)

    def name(self, topic_id: TopicId) -> str | None:
        topic = self._by_id.get(topic_id)
        return None if topic is None else topic.name

    def partition_count(self, topic_id: TopicId) -> int:
        """0 when there is no such topic."""
        topic = self._by_id.get(topic_id)
        return 0 if topic is None else len(topic.partitions)

    def public_names(self) -> Iterator[str]:
        return (name for name in self._by_name if name not in INTERNAL_TOPICS)

    def hash_of(self, names: Iterable[str]) -> int:
        """Changes when one of these topics is created, deleted or given partitions. 0 when none of them exists.

        A sum, so that the order of names does not matter. Kafka hashes otherwise: a group whose log it wrote meets
        once more when it is loaded here, and the other way round.
        """
        total = 0
        for name in names:
            topic = self._by_name.get(name)
            if topic is not None:
                total += _topic_hash(topic.topic_id, len(topic.partitions))
        return (total + _HASH_MODULUS // 2) % _HASH_MODULUS - _HASH_MODULUS // 2


NO_TOPICS = Topics({}, {})


@lru_cache(maxsize=65_536)
def _topic_hash(topic_id: TopicId, partition_count: int) -> int:
    return int.from_bytes(blake2b(topic_id + partition_count.to_bytes(4, "big"), digest_size=8).digest(), "big")
