"""What clients and operators ask of the cluster: each call is one decision, made on the image and committed.

Owns: which decision serves which call. ``ClusterDriver`` performs them: any broker may be asked (docs/decisions/011), and
answers when the change is known everywhere. Only ``alter_partitions`` is the controller's alone, as in Kafka.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from broker.clock import Clock
from broker.cluster import broker_admin, config_admin, election, isr_changes, reassignment, topic_admin
from broker.cluster.automatic_topics import automatic_topic
from broker.cluster.broker_admin import BrokerResult
from broker.cluster.config_changes import ResourceChange
from broker.cluster.decision import Decision, NewPartitions, NewTopic, ResourceResult, TopicResult
from broker.cluster.election import ElectionResult
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.isr_changes import IsrOutcome, IsrProposal
from broker.cluster.producer_ids import ProducerIds
from broker.cluster.reassignment import Reassignment, ReassignmentResult
from broker.cluster.topic_placement import count_places
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.types import BrokerId, TopicId, new_topic_id

Result = TypeVar("Result")
Item = TypeVar("Item", TopicResult, ResourceResult)


class AdminCalls(ABC):
    image: ClusterImage
    config: BrokerConfig
    _clock: Clock
    _random: Random
    _producer_ids: ProducerIds

    @abstractmethod
    async def _perform(
        self,
        decide: Callable[[ClusterImage], Decision[Result]],
        *,
        validate_only: bool = False,
        everywhere: bool = True,
    ) -> tuple[Result, ...]:
        """Decide, commit, decide again after a lost race; the results when the change is known here or ``everywhere``."""

    async def _perform_each(
        self, decide: Callable[[ClusterImage], Decision[Item]], *, validate_only: bool = False
    ) -> tuple[Item, ...]:
        """As ``_perform``, for answers that have a place for an error at each item only: what befalls all befalls each."""
        try:
            return await self._perform(decide, validate_only=validate_only)
        except KafkaError as error:
            results = decide(self.image).results
            return tuple(result if result.error is not None else replace(result, error=error) for result in results)

    # Topics and configs ----------------------------------------------------------------------------------

    async def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        return await self._perform_each(
            lambda image: topic_admin.decide_create_topics(
                image,
                topics,
                config=self.config,
                random=self._random,
                new_topic_id=new_topic_id,
                now_ms=self._clock.wall_ms(),
            ),
            validate_only=validate_only,
        )

    async def delete_topics(self, topics: Sequence[tuple[str | None, TopicId]]) -> tuple[TopicResult, ...]:
        """``topics`` are (name, zero id) or (None, id)."""
        return await self._perform_each(
            lambda image: topic_admin.decide_delete_topics(image, topics, config=self.config)
        )

    async def create_partitions(
        self, requests: Sequence[NewPartitions], *, validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        return await self._perform_each(
            lambda image: topic_admin.decide_create_partitions(
                image, requests, random=self._random, now_ms=self._clock.wall_ms()
            ),
            validate_only=validate_only,
        )

    async def alter_configs(
        self, changes: Sequence[ResourceChange], *, validate_only: bool = False
    ) -> tuple[ResourceResult, ...]:
        """Serves AlterConfigs and IncrementalAlterConfigs: ``ResourceChange.replace`` tells which."""
        return await self._perform_each(
            lambda image: config_admin.decide_alter_configs(
                image, changes, config=self.config, now_ms=self._clock.wall_ms()
            ),
            validate_only=validate_only,
        )

    async def create_topics_automatically(self, names: Iterable[str]) -> dict[str, KafkaError | None]:
        """Create with the broker's defaults; internal topics with their own. One that exists already is a success."""
        brokers = count_places(self.image)
        topics = [automatic_topic(name, self.config, brokers=brokers) for name in dict.fromkeys(names)]
        outcomes: dict[str, KafkaError | None] = {}
        for result in await self.create_topics(topics):
            assert result.name is not None
            exists = result.error is not None and result.error.code is ErrorCode.TOPIC_ALREADY_EXISTS
            outcomes[result.name] = None if exists else result.error
        return outcomes

    async def create_topic_automatically(self, name: str) -> TopicImage:
        """As above for one topic. Raises ``KafkaError``."""
        error = (await self.create_topics_automatically([name]))[name]
        if error is not None:
            raise error
        topic = self.image.topics_by_name.get(name)
        if topic is None:  # deleted again already
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return topic

    async def allocate_producer_id(self) -> int:
        """An id no other producer of this cluster ever had."""
        return await self._producer_ids.allocate()

    # Brokers ---------------------------------------------------------------------------------------------

    async def set_broker_state(self, broker_id: BrokerId, state: str) -> BrokerResult:
        """``active`` or ``draining``; see ``broker_admin.py``."""
        now_ms = self._clock.wall_ms()
        (result,) = await self._perform(
            lambda image: broker_admin.decide_broker_state(image, broker_id, state, now_ms=now_ms)
        )
        return result

    async def unregister_broker(self, broker_id: BrokerId) -> BrokerResult:
        now_ms = self._clock.wall_ms()
        (result,) = await self._perform(lambda image: broker_admin.decide_unregister(image, broker_id, now_ms=now_ms))
        return result

    # Leaders, replicas and in-sync sets ------------------------------------------------------------------

    async def elect_leaders(
        self, asked: Sequence[tuple[str, Sequence[int]]] | None, *, unclean: bool
    ) -> tuple[ElectionResult, ...]:
        """``asked`` None means every partition."""
        return await self._perform(
            lambda image: election.decide_elections(
                image, asked, unclean=unclean, config=self.config, now_ms=self._clock.wall_ms()
            )
        )

    async def reassign(
        self, asked: Sequence[Reassignment], *, allow_factor_change: bool = True
    ) -> tuple[ReassignmentResult, ...]:
        """Begin, replace or cancel moves; the answer comes when they have begun."""
        return await self._perform(
            lambda image: reassignment.decide_reassignments(
                image,
                asked,
                allow_factor_change=allow_factor_change,
                config=self.config,
                now_ms=self._clock.wall_ms(),
            )
        )

    async def alter_partitions(
        self, proposer: BrokerId, broker_epoch: int, proposals: Sequence[IsrProposal]
    ) -> tuple[IsrOutcome, ...]:
        """Raises ``KafkaError`` NOT_CONTROLLER, or STALE_BROKER_EPOCH for a proposer of a former life."""

        def decide(image: ClusterImage) -> Decision[IsrOutcome]:
            if image.controller_id != self.config.node_id:
                raise KafkaError(ErrorCode.NOT_CONTROLLER)
            broker = image.brokers.get(proposer)
            if broker is None or broker.epoch != broker_epoch:
                raise KafkaError(ErrorCode.STALE_BROKER_EPOCH)
            return isr_changes.decide_isr_changes(
                image, proposer, proposals, config=self.config, now_ms=self._clock.wall_ms()
            )

        return await self._perform(decide, everywhere=False)

    async def report_loss(self, lost: Collection[tuple[TopicId, int]] | None) -> tuple[tuple[TopicId, int], ...]:
        """This broker does not have what it is thought to have; ``None``: it has nothing any more. Others lead instead."""
        return await self._perform(
            lambda image: isr_changes.decide_loss(
                image, self.config.node_id, lost, config=self.config, now_ms=self._clock.wall_ms()
            ),
            everywhere=False,
        )
