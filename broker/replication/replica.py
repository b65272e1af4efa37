"""One partition followed here: takes what its leader sent and performs what ``follower.py`` decides on the log.

Owned by ``driver.py``; fed by the ``link.py`` it sits on, always on the event loop. What must stay true:

- an answer's records are written by one call, before anything else of the answer is believed;
- with ``ack.durability=flush`` the partition is asked for again only when all of its log is on disk: what it asks for
  is what the leader counts as safe here;
- the high watermark and the log start come from the leader and never pass the own log end.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Protocol

from broker import faultpoints
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import HEADER_SIZE, read_header
from broker.protocol.replica_fetch import FollowerResult, pack_position
from broker.replication.follower import AskRange, Effects, Follower, Phase, RestartAt, Truncate
from broker.types import BrokerId, LeaderEpoch, Offset

if TYPE_CHECKING:
    from broker.partition.driver import Partition

logger = logging.getLogger(__name__)

_base_offset = struct.Struct(">q").unpack_from


class ReplicaOwner(Protocol):
    """What a replica asks of what it sits on: the link, and through it the driver."""

    def on_appended(self, replica: Replica, byte_count: int) -> None: ...

    def on_moved(self, replica: Replica) -> None:
        """It asks for something else than it did, or asks again, or not at all."""

    def on_flushed(self, replica: Replica) -> None: ...

    def ask_range(self, replica: Replica) -> None: ...

    def delayed(self, replica: Replica) -> None:
        """Call ``on_due`` when ``core.due_ms`` is over."""

    @property
    def now_ms(self) -> int: ...

    @property
    def backoff_ms_max(self) -> int: ...


class Replica:
    __slots__ = (
        "core",
        "flushing",
        "index",
        "leader_high_watermark",
        "max_bytes",
        "owner",
        "partition",
        "throttled",
        "topic_id",
    )

    def __init__(self, partition: Partition, owner: ReplicaOwner) -> None:
        self.partition = partition
        self.topic_id = partition.topic_id
        self.index = partition.topic_partition.partition
        self.core = Follower()
        self.owner = owner
        self.max_bytes = 1
        self.throttled = False
        self.flushing = False
        """Something of its log is not on disk yet, and it asks for nothing before that."""
        self.leader_high_watermark: Offset = -1
        """As the leader told it last; -1 before it did."""

    @property
    def key(self) -> tuple[bytes, int]:
        return self.topic_id, self.index

    @property
    def lag(self) -> int:
        """Committed records that are not here yet, as far as is known."""
        return max(0, self.leader_high_watermark - self.partition.log.log_end_offset)

    # Asking -----------------------------------------------------------------------------------------

    def follow(self, leader: BrokerId, leader_epoch: LeaderEpoch) -> None:
        self.core.follow(leader, leader_epoch)
        self.leader_high_watermark = self.partition.lag = -1
        self.partition.log.forget_unwritten_epochs()
        if faultpoints.TRUNCATE_TO_HIGH_WATERMARK:
            self.partition.log.truncate_to(self.partition.state.high_watermark)
            self.partition.state.on_truncated(self.partition.log.log_end_offset)
        self._settle_on_disk()

    @property
    def fetchable(self) -> bool:
        return self.core.phase is Phase.FETCHING and not self.flushing

    def position(self) -> bytes:
        log = self.partition.log
        return pack_position(
            self.index,
            self.core.leader_epoch,
            log.log_end_offset,
            log.latest_epoch,
            log.log_start_offset,
            self.max_bytes,
        )

    def stop(self) -> None:
        self.core.stop()
        self.partition.on_durable = None
        self.partition.lag = -1

    def on_due(self, now_ms: int) -> None:
        if self.core.on_due(now_ms):
            self.owner.on_moved(self)

    def delay(self, due_ms: int) -> None:
        self.core.delay(due_ms)
        self.owner.delayed(self)
        self.owner.on_moved(self)

    # Answers ----------------------------------------------------------------------------------------

    def take(self, result: FollowerResult) -> None:
        """What the leader said of this partition in one answer."""
        if self.core.phase is not Phase.FETCHING:
            return
        _, _, error_code, high_watermark, log_start, diverging, records = result
        try:
            if error_code or diverging is not None:
                self._take_trouble(result)
                return
            self.leader_high_watermark = high_watermark
            if records is not None and not self._append(records):
                return
            state, log = self.partition.state, self.partition.log
            end_offset = log.log_end_offset
            self.partition.lag = high_watermark - end_offset if high_watermark > end_offset else 0
            effects = state.on_leader_high_watermark(high_watermark, end_offset)
            if effects:
                self.partition.perform(effects)
            if log_start > log.log_start_offset:
                self._advance_log_start(log_start)
            if log.incomplete_reason:
                self._judge_complete()
        except KafkaError as error:
            self.refuse(error)

    def _append(self, records: memoryview) -> bool:
        log = self.partition.log
        if _base_offset(records)[0] < log.log_end_offset and not self._begins_before_the_log(records):
            self.owner.on_moved(self)
            return False
        log.append_as_follower(records)
        size = len(records)
        self.core.on_records()
        if self.partition.waits_for_flush:
            self.flushing = True
            self.partition.request_flush()
        self.owner.on_appended(self, size)
        return True

    def _begins_before_the_log(self, records: memoryview) -> bool:
        """Batches that begin before the log end: asked for twice, so the log has them; except that a log that began
        anew at its leader's start gets the batch around that start whole."""
        log = self.partition.log
        if len(records) < HEADER_SIZE or log.log_start_offset != log.log_end_offset:
            return False
        header = read_header(records)
        if header.next_offset <= log.log_end_offset:
            return False
        log.restart_at(header.base_offset)
        return True

    def _advance_log_start(self, leader_start: Offset) -> None:
        log = self.partition.log
        target = min(leader_start, log.log_end_offset)
        log.advance_log_start(target)
        log.delete_segments_below(target)
        self.partition.wake_fetch_waiters()
        self.owner.on_moved(self)

    def _judge_complete(self) -> None:
        """A log that was begun anew is what it was when it has, as durably as is promised, all that is committed."""
        if not self.flushing and 0 <= self.leader_high_watermark <= self.partition.log.log_end_offset:
            name, leader = self.partition.topic_partition, self.core.leader
            logger.warning("%s is complete again, copied from broker %d", name, leader)
            self.partition.log.note_complete()

    def _take_trouble(self, result: FollowerResult) -> None:
        core, log = self.core, self.partition.log
        if result.diverging_epoch is not None and not result.error_code:
            epoch, end_offset = result.diverging_epoch
            high_watermark = self.partition.state.high_watermark
            effects = core.on_diverging(
                epoch, end_offset, own_end=log.end_offset_for_epoch, log=log, high_watermark=high_watermark
            )
            if not effects:
                logger.error(
                    "%s: broker %d says that epoch %d ends at %d, which cuts nothing of %s",
                    self.partition.topic_partition, core.leader, epoch, end_offset, log,
                )  # fmt: skip
                self.fail(int(ErrorCode.UNKNOWN_SERVER_ERROR))
                return
            self.perform(effects)
        else:
            self.fail(result.error_code)

    def fail(self, code: int) -> None:
        """The leader refused this partition, or could not be asked."""
        self.perform(self.core.on_error(code, now_ms=self.owner.now_ms, backoff_ms_max=self.owner.backoff_ms_max))
        if self.core.phase is Phase.DELAYED:
            self.owner.delayed(self)
        self.owner.on_moved(self)

    def refuse(self, error: KafkaError) -> None:
        """The own log did not take it."""
        log = self.partition.log
        logger.error("%s: %s", self.partition.topic_partition, error.message or error.code.name)
        if error.code is ErrorCode.KAFKA_STORAGE_ERROR and log.is_closed_to_writing:
            self.core.stop()
            self.owner.on_moved(self)
        else:
            self.fail(int(error.code))

    def on_range(self, leader_start: Offset, leader_end: Offset) -> None:
        if self.core.phase is not Phase.ASKING:
            return
        high_watermark = self.partition.state.high_watermark
        log = self.partition.log
        try:
            self.perform(self.core.on_range(leader_start, leader_end, log=log, high_watermark=high_watermark))
        except KafkaError as error:
            self.refuse(error)
        self.owner.on_moved(self)

    # Effects ----------------------------------------------------------------------------------------

    def perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, AskRange):
                self.owner.ask_range(self)
            else:
                self._cut(effect)

    def _cut(self, effect: Truncate | RestartAt) -> None:
        partition, log = self.partition, self.partition.log
        before = log.log_end_offset
        if effect.below_high_watermark:
            logger.error(
                "%s: broker %d leads epoch %d without %d records below our high watermark %d; they are cut off: either it "
                "was elected unclean or acknowledged records are lost",
                partition.topic_partition, self.core.leader, self.core.leader_epoch,
                effect.below_high_watermark, partition.state.high_watermark,
            )  # fmt: skip
        if isinstance(effect, Truncate):
            log.truncate_to(effect.offset)
        else:
            log.restart_at(effect.offset)
        log.high_watermark = min(log.high_watermark, log.log_end_offset)
        partition.state.on_truncated(log.log_end_offset)
        partition.wake_fetch_waiters()
        logger.info("%s: log end %d becomes %d", partition.topic_partition, before, log.log_end_offset)
        self._settle_on_disk()
        self.owner.on_moved(self)

    def _settle_on_disk(self) -> None:
        log = self.partition.log
        self.flushing = self.partition.waits_for_flush and log.flushed_offset < log.log_end_offset
        if self.flushing:
            self.partition.request_flush()

    def on_flushed(self, flushed_offset: Offset) -> None:
        """Told of every flush of the partition, whoever wanted it."""
        if not self.flushing:
            return
        if flushed_offset < self.partition.log.log_end_offset:
            self.partition.request_flush()
            return
        self.flushing = False
        try:
            if self.partition.log.incomplete_reason:
                self._judge_complete()
        except KafkaError as error:
            self.refuse(error)
        self.owner.on_flushed(self)
