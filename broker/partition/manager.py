"""All partitions of one broker: finds them for handlers, follows the cluster image, keeps the clockwork running.

Owns the ``Partition`` objects and what they share: the flush scheduler of the log directory, the disk guard, what waits
(``waiting.py``) and the periodic work on logs (``maintenance.py``). Everything runs on the event loop, except what those
two hand to threads.

Invariants
    a partition is known here iff this broker is one of its replicas in the applied image and its log is usable
    an offline log answers KAFKA_STORAGE_ERROR, never UNKNOWN_TOPIC_OR_PARTITION: the data exists
    nothing is removed from disk because metadata is missing; only a topic's deletion deletes
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from broker import limits
from broker.clock import Clock
from broker.config.broker_schema import RACK_AWARE_SELECTOR
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.partition.disk_guard import DiskGuard
from broker.partition.driver import NEVER, Partition
from broker.partition.flush import FlushScheduler
from broker.partition.maintenance import Maintenance
from broker.partition.ports import IsrProposer, LeadershipListener, ReplicationListener
from broker.partition.roles import Roles
from broker.partition.state import PartitionState, ProposeIsr
from broker.partition.waiting import (
    NEWS_SECONDS,
    NEWS_SECONDS_UNREAD,
    FollowerPoll,
    LongPoll,
    ParkedAnswer,
    Waiting,
)
from broker.types import NO_LEADER, BrokerId, TopicId, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage, ImageDelta, PartitionImage, TopicImage
    from broker.config.broker import BrokerConfig
    from broker.storage.log import Log
    from broker.storage.log_dir import LogDir

logger = logging.getLogger(__name__)

LogDirDescription: TypeAlias = tuple[str, ErrorCode, int, int, list[tuple[str, int, int, int, bool]]]
"""(path, error, total bytes, usable bytes, [(topic, partition, size, lag behind the high watermark, is future)]);
-1 bytes are unknown."""

TICK_SECONDS = 0.25
ISR_TICK_SECONDS_MAX = 1.0
"""A follower's lag is measured to about this."""
STOOD_STILL_SECONDS = 1.0
"""A tick that is this late says that the process was stopped, or starved: followers could not fetch either."""
FETCH_ANSWER_BYTES = (
    (limits.UNSENT_BYTES_MAX // 4, 8 * limits.MIB),
    (limits.UNSENT_BYTES_MAX // 2, 1 * limits.MIB),
    (sys.maxsize, 64 * limits.KIB),
)
"""(while fewer bytes than this are unsent, an answer may carry this many bytes beyond its first batch)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStatistics:
    partitions: int
    offline: int
    parked_produce: int
    fsync_rounds_total: int
    produce_refused_reason: str
    offline_log_dir_reason: str
    disk_free_bytes: int
    disk_total_bytes: int


class PartitionManager:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        log_dir: LogDir,
        config: Callable[[], BrokerConfig],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        new_flush_scheduler: Callable[..., FlushScheduler] = FlushScheduler,
    ) -> None:
        """``config`` returns the effective config of the moment: parts of it change while the broker runs."""
        self.node_id = node_id
        self.log_dir = log_dir
        self.stopping = False
        self.fetch_answer_bytes_max = FETCH_ANSWER_BYTES[0][1]
        self.parked_fetch_partitions = 0
        """Of all fetches that wait, counted by themselves: see ``PARKED_FETCH_PARTITIONS_MAX``."""
        self.disk_guard = DiskGuard(self._disk_usage, floor_bytes=config().disk_free_floor_bytes)
        self._config = config
        self._clock = clock
        self._loop = loop
        self._flush = new_flush_scheduler(loop, on_failed=self._on_flush_failed)
        self._waits_for_flush = config().ack_durability == "flush"
        self._image: ClusterImage | None = None
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._by_id: dict[tuple[TopicId, int], Partition] = {}
        self.recompressed: set[TopicPartition] = set()
        """Those whose ``compression.type`` is not the producer's: Produce has to look at them first."""
        self._flushed_by_time: dict[TopicPartition, Partition] = {}
        """Those with ``flush.ms``; few or none, and looked at every tick."""
        self._roles = Roles(node_id, lambda: int(clock.monotonic() * 1_000))
        self._isr_proposer: IsrProposer | None = None
        self._next_isr_tick = 0.0
        self._waiting = Waiting(loop.call_soon, loop.call_later, loop.time)
        self._maintenance = Maintenance(
            log_dir=log_dir,
            partitions=self._partitions.values,
            flushed_by_time=self._flushed_by_time.values,
            config=config,
            clock=clock,
            loop=loop,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._failure_is_told = False

    # Finding ----------------------------------------------------------------------------------------

    def get(self, topic: str, partition: int) -> Partition:
        """The partition, if this broker leads it. Raises ``KafkaError`` with what a client should be told."""
        found = self._partitions.get((topic, partition))
        if found is None or not found.state.is_leader or self._flush.failed_reason:
            raise self._why_not(topic, partition)
        return found

    def get_by_id(self, topic_id: TopicId, partition: int) -> Partition:
        found = self._by_id.get((topic_id, partition))
        if found is None or not found.state.is_leader or self._flush.failed_reason:
            topic = self._image.topics_by_id.get(topic_id) if self._image is not None else None
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
            raise self._why_not(topic.name, partition)
        return found

    def resolve_replica(self, topic: str | None, topic_id: TopicId | None, partition: int) -> Partition:
        """For readers whom a follower serves as well: the partition, led here or copied from a leader."""
        found = (
            self._by_id.get((topic_id, partition))
            if topic_id is not None
            else self._partitions.get((topic or "", partition))
        )
        if found is not None and found.state.leader >= 0 and not self._flush.failed_reason:
            return found
        return self.resolve(topic, topic_id, partition)

    def resolve(self, topic: str | None, topic_id: TopicId | None, partition: int) -> Partition:
        """By id where the request has one, else by name."""
        if topic_id is not None:
            return self.get_by_id(topic_id, partition)
        assert topic is not None, "a request names its topics or gives their ids"
        return self.get(topic, partition)

    def find(self, topic: str, partition: int) -> Partition | None:
        """The partition in whatever role, or ``None``: for statistics and maintenance."""
        return self._partitions.get((topic, partition))

    def partitions(self) -> Iterable[Partition]:
        return self._partitions.values()

    def _why_not(self, topic: str, partition: int) -> KafkaError:
        image = self._image.topics_by_name.get(topic) if self._image is not None else None
        if image is None or not 0 <= partition < len(image.partitions):
            return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        reason = self.offline_reason(topic, partition)
        if reason:
            return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, reason)
        return KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def offline_reason(self, topic: str, partition: int) -> str:
        """Why a replica of this broker is not usable; empty when it is, or when there is none."""
        return (
            self.log_dir.offline.get(TopicPartition(topic, partition))
            or self._flush.failed_reason
            or self.log_dir.failed_reason
            or ""
        )

    # Following the cluster image ---------------------------------------------------------------------

    def listen(self, topic: str, listener: LeadershipListener) -> None:
        """Tell ``listener`` about the partitions of ``topic``, beginning with those led already."""
        self._roles.listen(topic, listener, self._partitions.values())

    def propose_isr_through(self, proposer: IsrProposer) -> None:
        self._isr_proposer = proposer

    def listen_replication(self, listener: ReplicationListener) -> None:
        """Tell ``listener`` which partitions to copy from whom, beginning with those followed already."""
        self._roles.listen_replication(listener)

    def apply(self, delta: ImageDelta) -> None:
        """Make the partitions of this broker what the new image says."""
        self._image = delta.new
        for topic in delta.deleted_topics:
            for index in range(len(topic.partitions)):
                self._delete(TopicPartition(topic.name, index))
        everything = delta.broker_configs_changed or (
            delta.new.is_settled(self.node_id) and not delta.old.is_settled(self.node_id)
        )
        if everything:
            for topic in delta.new.topics_by_id.values():
                self._apply_topic(topic)
            return
        for topic in delta.created_topics:
            self._apply_topic(topic)
        for before, topic in delta.changed_topics:
            self._apply_topic(topic, before.partitions if before.configs == topic.configs else ())

    def _apply_topic(self, topic: TopicImage, unchanged: Sequence[PartitionImage] = ()) -> None:
        """What is the very same as in ``unchanged`` has been applied before."""
        config = TopicConfig.resolve(topic.configs, self._config())
        for index, image in enumerate(topic.partitions):
            if index < len(unchanged) and image is unchanged[index]:
                continue
            if self.node_id in image.replicas:
                self._apply_partition(TopicPartition(topic.name, index), topic.topic_id, config, image)
            elif (topic.name, index) in self._partitions:
                self._delete(TopicPartition(topic.name, index))

    def _apply_partition(
        self, topic_partition: TopicPartition, topic_id: TopicId, config: TopicConfig, image: PartitionImage
    ) -> None:
        partition = self._partitions.get(topic_partition)
        if partition is None:
            log = self._open_log(topic_partition, topic_id, config, image.leader)
            if log is None:
                return
            partition = self._add(topic_partition, topic_id, log, config)
        partition.log.config = config
        self._note_config(partition, config)
        partition.perform(partition.state.set_min_insync_replicas(config.min_insync_replicas))
        assert self._image is not None, "partitions follow an image"
        self._roles.apply(partition, image, settled=self._image.is_settled(self.node_id))

    def _note_config(self, partition: Partition, config: TopicConfig) -> None:
        """What is not looked up in the config at every turn."""
        if config.compression_type == "producer":
            self.recompressed.discard(partition.topic_partition)
        else:
            self.recompressed.add(partition.topic_partition)
        partition.configure_flush(config.flush_messages, config.flush_ms)
        if config.flush_ms < NEVER:
            self._flushed_by_time[partition.topic_partition] = partition
        else:
            self._flushed_by_time.pop(partition.topic_partition, None)

    def _open_log(
        self, topic_partition: TopicPartition, topic_id: TopicId, config: TopicConfig, leader: BrokerId
    ) -> Log | None:
        """The log of a replica placed here; ``None`` while it is offline. With another leader there is a copy to be had."""
        offline = topic_partition in self.log_dir.offline
        if offline and leader in (NO_LEADER, self.node_id):
            logger.error("partition %s is offline: %s", topic_partition, self.log_dir.offline[topic_partition])
            return None
        log = self.log_dir.logs.get(topic_partition)
        if log is not None and not offline:
            return log
        try:
            if offline:
                return self.log_dir.begin_anew(topic_partition, topic_id, config)
            return self.log_dir.create_log(topic_partition, topic_id, config)
        except KafkaError as error:
            logger.error("partition %s cannot be created: %s", topic_partition, error)
            self.log_dir.offline[topic_partition] = error.message
            return None

    def copy_anew(self, topic_partition: TopicPartition) -> None:
        """The log of a followed partition was found damaged: put it aside and copy it from its leader."""
        partition = self._partitions.get(topic_partition)
        if partition is None or self._image is None or partition.state.is_leader:
            return
        topic = self._image.topics_by_id.get(partition.topic_id)
        if topic is not None:
            self._drop(partition)
            self._apply_topic(topic)

    def _add(self, topic_partition: TopicPartition, topic_id: TopicId, log: Log, config: TopicConfig) -> Partition:
        state = PartitionState(
            self.node_id,
            min_insync_replicas=config.min_insync_replicas,
            log_end_offset=log.log_end_offset,
            high_watermark=max(log.high_watermark, log.log_start_offset),
        )
        partition = Partition(
            topic_partition,
            topic_id,
            log,
            state,
            flush=self._flush,
            waits_for_flush=self._waits_for_flush,
            on_propose_isr=self._propose_isr,
        )
        self._partitions[topic_partition] = partition
        self._by_id[topic_id, topic_partition.partition] = partition
        return partition

    def _delete(self, topic_partition: TopicPartition) -> None:
        partition = self._partitions.get(topic_partition)
        if partition is not None:
            self._drop(partition)
        try:
            self.log_dir.delete_log(topic_partition)
        except OSError as error:
            logger.error("the log of the deleted partition %s stays on disk: %s", topic_partition, error)

    def _propose_isr(self, partition: Partition, proposal: ProposeIsr) -> None:
        if self._isr_proposer is None:
            # Not yet: the partition asks again with its next tick.
            partition.perform(partition.state.on_proposal_refused())
        else:
            self._isr_proposer.propose(partition, proposal)

    def _drop(self, partition: Partition) -> None:
        topic_partition = partition.topic_partition
        del self._partitions[topic_partition]
        self._flushed_by_time.pop(topic_partition, None)
        self.recompressed.discard(topic_partition)
        self._by_id.pop((partition.topic_id, topic_partition.partition), None)
        self._flush.forget(partition)
        self._roles.forget(partition)

    # Waiting ----------------------------------------------------------------------------------------

    def watch_deadline(self, parked: ParkedAnswer) -> None:
        """Give up on an acks=all answer at its deadline. Looked at every ``TICK_SECONDS``, not to the millisecond."""
        self._waiting.watch(parked)

    def unwatch(self, parked: ParkedAnswer) -> None:
        self._waiting.unwatch(parked)

    def wake_later(self, poll: LongPoll) -> None:
        """A long poll has data: look at it once this input is used up, together with others."""
        self._waiting.wake_later(poll)

    def tell_soon(self, poll: FollowerPoll, *, pressing: bool) -> None:
        """A follower's long poll has nothing to read, but a high watermark to hear of or, ``pressing``, a session to begin."""
        pressing = pressing or self._config().replica_selector_class == RACK_AWARE_SELECTOR
        self._waiting.tell_soon(poll, NEWS_SECONDS if pressing else NEWS_SECONDS_UNREAD)

    def wake_long_polls(self) -> None:
        self._waiting.wake_all()

    def release_long_polls(self) -> None:
        """The broker stops: answer every long poll with what there is, now and from now on."""
        self.stopping = True
        for partition in self._partitions.values():
            partition.wake_fetch_waiters()
        self._waiting.wake_all()

    def limit_answers(self, unsent_bytes: int) -> None:
        """Size fetch answers by what slow readers leave lying in memory: their number must not decide how much."""
        self.fetch_answer_bytes_max = next(size for below, size in FETCH_ANSWER_BYTES if unsent_bytes < below)

    # Guarding ---------------------------------------------------------------------------------------

    def refuse_produce_reason(self) -> str:
        """Why nothing may be appended right now; empty when it may."""
        return self._flush.failed_reason or self.disk_guard.refusal(self._clock.monotonic())

    def _on_flush_failed(self, reason: str) -> None:
        """A failed fsync is final: what waited is unknown, what comes is refused, until a restart reads the disk."""
        self.log_dir.failed_reason = reason
        self._tell_failure()

    def _tell_failure(self) -> None:
        self._failure_is_told = True
        for partition in tuple(self._partitions.values()):
            partition.fail_waiters(ErrorCode.KAFKA_STORAGE_ERROR)

    # Time -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._on_tick)

    def _on_tick(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._on_tick)
        now = self._clock.monotonic()
        self._waiting.expire(now)
        if self.log_dir.failed_reason and not self._failure_is_told:
            self._tell_failure()  # an append found it out, not a flush
        self._maintenance.tick(now)
        if now >= self._next_isr_tick:
            self._tick_in_sync_sets(now)

    def _tick_in_sync_sets(self, now: float) -> None:
        """Who fell behind, who came back. At least every half of ``replica.lag.time.max.ms``."""
        lag_ms_max = self._config().replica_lag_time_max_ms
        stood_still = 0 < self._next_isr_tick < now - STOOD_STILL_SECONDS
        self._next_isr_tick = now + min(lag_ms_max / 2_000, ISR_TICK_SECONDS_MAX)
        if not self._roles.replicated or self._image is None:
            return
        now_ms = int(now * 1_000)
        image = self._image
        brokers = {broker.id: broker.epoch for broker in image.brokers.values() if broker.id not in image.stopping}
        for partition in tuple(self._roles.replicated.values()):
            if stood_still:
                partition.state.on_stood_still(now_ms=now_ms)
            effects = partition.state.on_tick(now_ms=now_ms, lag_ms_max=lag_ms_max, broker_epochs=brokers)
            if effects:
                partition.perform(effects)

    async def stop(self) -> None:
        """Flush everything, then leave the clean-shutdown marker."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._maintenance.wait_finished()
        for partition in self._partitions.values():
            partition.request_flush()
            partition.save_high_watermark()
        await self._flush.wait_idle()
        self._flush.close()
        self.log_dir.close(clean=not self._flush.failed_reason)

    def statistics(self) -> ManagerStatistics:
        return ManagerStatistics(
            partitions=len(self._partitions),
            offline=len(self.log_dir.offline),
            parked_produce=self._waiting.parked_count,
            fsync_rounds_total=self._flush.statistics().rounds_total,
            produce_refused_reason=self.refuse_produce_reason(),
            offline_log_dir_reason=self._flush.failed_reason or self.log_dir.failed_reason or "",
            disk_free_bytes=self.disk_guard.free_bytes,
            disk_total_bytes=self.disk_guard.total_bytes,
        )

    def log_dirs(self) -> list[LogDirDescription]:
        """What DescribeLogDirs tells: this broker's one directory and the replicas in it."""
        failed = self._flush.failed_reason or self.log_dir.failed_reason
        try:
            free_bytes, total_bytes = self._disk_usage()
        except OSError:
            free_bytes = total_bytes = -1
        return [
            (
                self.log_dir.path,
                ErrorCode.KAFKA_STORAGE_ERROR if failed else ErrorCode.NONE,
                total_bytes,
                free_bytes,
                [
                    (topic, index, p.log.size_bytes, max(0, p.state.high_watermark - p.log.log_end_offset), False)
                    for (topic, index), p in self._partitions.items()
                ],
            )
        ]

    def _disk_usage(self) -> tuple[int, int]:
        usage = self.log_dir.disk_usage()
        return usage.free_bytes, usage.total_bytes

    def offline(self) -> Mapping[TopicPartition, str]:
        """Replicas of this broker that cannot be used, with the reason."""
        return self.log_dir.offline
