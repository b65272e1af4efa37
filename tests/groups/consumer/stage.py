"""A shard on a stage, with topics that come and go, seen by members of the consumer protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from broker.cluster.image import PartitionImage, TopicImage
from broker.errors import ErrorCode
from broker.groups.consumer.events import ConsumerHeartbeat, ConsumerHeartbeatReply
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.topics import Topics
from tests.groups.stage import GROUP, Stage

_PARTITION = PartitionImage(leader=1, leader_epoch=0, isr=(1,), replicas=(1,), partition_epoch=0)

Assigned = dict[str, list[int]]


def topic_id(name: str, life: int = 0) -> bytes:
    return f"{name}/{life}".encode().ljust(16, b".")


def make_topics(version: int, lives: Mapping[str, tuple[int, int]]) -> Topics:
    """``lives``: name → (partitions, which life of that name)."""
    images = [
        TopicImage(name=name, topic_id=topic_id(name, life), partitions=(_PARTITION,) * count, configs={})
        for name, (count, life) in lives.items()
    ]
    return Topics({one.name: one for one in images}, {one.topic_id: one for one in images}, version=version)


class ConsumerStage(Stage):
    """Targets are made at once unless an interval is given; every heartbeat is answered in its own turn."""

    def __init__(self, *, topics: Mapping[str, int] | None = None, config: Mapping[str, Any] = {}, **settings: Any):
        super().__init__(**config)
        self.settings = replace(ConsumerSettings(assignment_interval_ms=0), **settings)
        self.lives = {name: (count, 0) for name, count in (topics or {"clicks": 4}).items()}
        self.version = 0
        self.surround()

    # The cluster -------------------------------------------------------------------------------------

    def surround(self) -> None:
        self.shard.consumer.topics = make_topics(self.version, self.lives)
        self.shard.consumer.settings_of = lambda group_id: self.settings

    def create_topic(self, name: str, partitions: int) -> None:
        self.version += 1
        self.lives[name] = (partitions, self.version)
        self.surround()

    def delete_topic(self, name: str) -> None:
        del self.lives[name]
        self.surround()

    def grow_topic(self, name: str, partitions: int) -> None:
        self.lives[name] = (partitions, self.lives[name][1])
        self.surround()

    def topic_id(self, name: str) -> bytes:
        return topic_id(name, self.lives[name][1])

    def reload(self) -> None:
        super().reload()
        self.surround()

    # Members -----------------------------------------------------------------------------------------

    @property
    def consumer_group(self) -> ConsumerGroup:
        return self.shard.consumer.groups[GROUP]

    def member(self, member_id: str) -> ConsumerMember:
        return self.consumer_group.members[member_id]

    def beat(
        self, member_id: str, epoch: int, *, owned: Assigned | None = None, group: str = GROUP, **fields: Any
    ) -> ConsumerHeartbeatReply:
        event = ConsumerHeartbeat(
            group_id=group,
            member_id=member_id,
            epoch=epoch,
            client_id=fields.pop("client_id", "app"),
            client_host="/10.0.0.1",
            generated_id="generated",
            owned=None if owned is None else self.partitions(owned),
            **fields,
        )
        return self.answer(self.run(lambda ticket: self.shard.consumer_heartbeat(event, ticket, self.now_ms)))

    def enter_consumer(self, member_id: str, *topics: str, **fields: Any) -> ConsumerHeartbeatReply:
        """Join as a new member does, with everything it has to say."""
        fields = {"rebalance_timeout_ms": 30_000, "owned": {}} | fields
        return self.beat(member_id, 0, topics=tuple(sorted(topics)), **fields)

    def leave_consumer(self, member_id: str, epoch: int = -1, **fields: Any) -> ConsumerHeartbeatReply:
        return self.beat(member_id, epoch, **fields)

    def obey(self, member_id: str) -> ConsumerHeartbeatReply:
        """A heartbeat of a member that does at once what the last answer told it to."""
        member = self.member(member_id)
        return self.beat(member_id, member.epoch, owned=self.assigned(member_id))

    def settle_group(self) -> None:
        """Obedient heartbeats of everybody until nothing moves any more."""
        for _ in range(10):
            before = len(self.log)
            for member_id in list(self.consumer_group.members):
                if not self.member(member_id).is_classic:
                    assert self.obey(member_id).error is ErrorCode.NONE
            if len(self.log) == before:
                return
        raise AssertionError("the group does not come to rest")

    # Partitions by name ------------------------------------------------------------------------------

    def partitions(self, named: Assigned) -> dict[bytes, frozenset[int]]:
        return {self.topic_id(name): frozenset(indexes) for name, indexes in named.items()}

    def named(self, partitions: Mapping[bytes, Any] | None) -> Assigned | None:
        if partitions is None:
            return None
        names = {topic_id(name, life): name for name, (_, life) in self.lives.items()}
        return {names.get(one, "gone"): sorted(indexes) for one, indexes in sorted(partitions.items())}

    def assigned(self, member_id: str) -> Assigned:
        found = self.named(self.member(member_id).current.assigned)
        assert found is not None
        return found

    def target(self, member_id: str) -> Assigned:
        found = self.named(self.consumer_group.target(member_id))
        assert found is not None
        return found
