"""The periodic work on the logs of a broker: rolling, flushing by interval, purging, checkpoints, forgetting.

Called by the manager's tick. Works on the event loop as far as it is short; files are unlinked and checkpoints synced
in a worker thread. A fault in one of them is logged and does not keep the others from happening.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING

from broker.clock import Clock
from broker.errors import KafkaError
from broker.partition.driver import Partition

if TYPE_CHECKING:
    from broker.config.broker import BrokerConfig
    from broker.storage.deletions import DueDeletions
    from broker.storage.log_dir import LogDir

logger = logging.getLogger(__name__)

LOGS_PER_TURN = 100
"""Looked at without anything to write."""
PAUSE_SECONDS = 0.002
ROLL_SECONDS = 5.0
PURGE_SECONDS = 1.0
CHECKPOINT_SECONDS_FIRST = 5.0
"""The first checkpoint comes early: a broker that dies soon after its start should not have to scan it all again."""


class Maintenance:
    def __init__(
        self,
        *,
        log_dir: LogDir,
        partitions: Callable[[], Iterable[Partition]],
        flushed_by_time: Callable[[], Iterable[Partition]],
        config: Callable[[], BrokerConfig],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._log_dir = log_dir
        self._partitions = partitions
        self._flushed_by_time = flushed_by_time
        self._config = config
        self._clock = clock
        self._loop = loop
        now = clock.monotonic()
        self._next_flush = now
        self._next_roll = now + ROLL_SECONDS
        self._next_purge = now + PURGE_SECONDS
        self._next_checkpoint = now + CHECKPOINT_SECONDS_FIRST
        self._running: set[asyncio.Task[None]] = set()
        self._checkpoints_under_way = 0

    def tick(self, now: float) -> None:
        """Do what is due at monotonic second ``now``."""
        config = self._config()
        if config.ack_durability == "interval" and now >= self._next_flush:
            self._next_flush = now + config.ack_flush_interval_ms / 1_000
            for partition in self._partitions():
                partition.request_flush()
        now_ms = int(now * 1_000)
        for partition in self._flushed_by_time():
            if now_ms - partition.last_flush_ms >= partition.flush_ms:
                partition.last_flush_ms = now_ms
                partition.request_flush()
        if now >= self._next_purge:
            self._next_purge = now + PURGE_SECONDS
            self._purge()
        if now >= self._next_roll:
            self._next_roll = now + ROLL_SECONDS
            self._roll()
        if now >= self._next_checkpoint:
            self._next_checkpoint = now + config.log_flush_offset_checkpoint_interval_ms / 1_000
            self._log_dir.expire_producers(self._clock.wall_ms(), config.producer_id_expiration_ms)
            self._in_background(self._checkpoint())

    async def wait_finished(self) -> None:
        """Until nothing of it runs in a worker thread any more."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _roll(self) -> None:
        """Begin new segments where it is time. A closed one is flushed even under ``os``, as in Kafka: a restart scans
        what is not."""
        now_ms = self._clock.wall_ms()
        for partition in self._partitions():
            if partition.state.is_leader:
                try:
                    partition.log.roll_if_due(now_ms)
                except KafkaError as error:
                    logger.error("%s could not begin a new segment: %s", partition.topic_partition, error)
            if partition.log.closed_segments_unflushed:
                partition.request_flush()

    def _purge(self) -> None:
        """Unlink what was deleted long enough ago; a large file takes its time. Checkpoints forget what was deleted now."""
        if self._log_dir.checkpoints_name_the_dead and not self._checkpoints_under_way:
            self._in_background(self._checkpoint())
        due = self._log_dir.due_deletions(self._clock.wall_ms())
        if due is not None:
            self._in_background(self._unlink(due))

    async def _unlink(self, due: DueDeletions) -> None:
        for problem in await self._loop.run_in_executor(None, due.run):
            logger.error("a deleted file stays on disk: %s", problem)

    async def _checkpoint(self) -> None:
        self._checkpoints_under_way += 1
        try:
            await self._save_positions()
        finally:
            self._checkpoints_under_way -= 1

    async def _save_positions(self) -> None:
        """What is to be told is fixed first, so that the indexes, which follow, cover all of it. They are small files, two for
        each log that was written to; making one can take the file system a millisecond or two, so others have their turn
        behind every log, and time enough to catch up."""
        for partition in self._partitions():
            partition.save_high_watermark()
        ticket = self._log_dir.checkpoint_ticket()
        for count, partition in enumerate(tuple(self._partitions()), start=1):
            written = False
            with contextlib.suppress(OSError):  # shortcuts; the next checkpoint tries again
                written = partition.log.save_shortcuts()
            if written:
                await asyncio.sleep(PAUSE_SECONDS)
            elif count % LOGS_PER_TURN == 0:
                await asyncio.sleep(0)
        await self._loop.run_in_executor(None, ticket.run)
        self._log_dir.checkpointed(ticket)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("maintenance of %s failed", self._log_dir.path, exc_info=error)
