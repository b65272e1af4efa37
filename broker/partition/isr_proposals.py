"""In-sync sets this broker's leaders propose, on their way to the controller.

Owns: which proposals are out, the one request under way, and when to ask again. All that is proposed while a request
runs goes out with the next one, as one AlterPartition (56). Driver: ``state.py`` decides what to propose and what an
answer means; built by ``app.py``.

What must stay true:
- of one partition at most one proposal is out, and it is the one its state waits for;
- a proposal is repeated until the controller has answered it, or the image shows that something newer came. Repeating is
  harmless: the controller compares the partition's epoch, so it takes a proposal once;
- an answer that does not say that *nothing happened* leaves the proposal standing: an earlier copy of it may have been
  taken, and as long as that is possible the proposed members count (``state.py``, the maximal set). The image, which has
  the newer epoch, settles it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from broker.clock import Clock
from broker.errors import ErrorCode, KafkaError
from broker.partition.driver import Partition
from broker.partition.state import ProposeIsr
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_LEADER, BrokerId, TopicId

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage

logger = logging.getLogger(__name__)

ALTER_PARTITION_VERSION = 3
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0
PARTITIONS_PER_REQUEST_MAX = 2_000
GROWTH_PAUSE_MS = 500
"""After a refusal of a member: its registration may still be on its way to the controller."""
_NO_BROKER_EPOCH = -1

_REFUSED = frozenset((ErrorCode.INELIGIBLE_REPLICA, ErrorCode.INVALID_REPLICA_ASSIGNMENT))
"""The controller looked at this very state of the partition and did not change it."""

Key = tuple[TopicId, int]


class PeerRequests(Protocol):
    """``client/peers.py``."""

    async def request(self, broker_id: BrokerId, api_key: int, api_version: int, message: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IsrProposalStatistics:
    pending: int
    requests_total: int
    accepted_total: int
    refused_total: int


class IsrProposals:
    def __init__(
        self, *, node_id: BrokerId, peers: PeerRequests, image: Callable[[], ClusterImage], clock: Clock
    ) -> None:
        self._node_id = node_id
        self._peers = peers
        self._image = image
        self._clock = clock
        self._pending: dict[Key, tuple[Partition, ProposeIsr]] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._requests_total = self._accepted_total = self._refused_total = 0

    def propose(self, partition: Partition, proposal: ProposeIsr) -> None:
        """Have the controller decide on it. Whatever the partition proposed before is void."""
        self._pending[partition.topic_id, partition.topic_partition.partition] = partition, proposal
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="isr proposals")

    def on_image_changed(self) -> None:
        """There may be another controller to ask, or an answer."""
        if self._pending:
            self._changed.set()

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def statistics(self) -> IsrProposalStatistics:
        return IsrProposalStatistics(
            pending=len(self._pending),
            requests_total=self._requests_total,
            accepted_total=self._accepted_total,
            refused_total=self._refused_total,
        )

    async def _run(self) -> None:
        """Lives while there is something to propose."""
        try:
            await self._propose_pending()
        finally:
            self._task = None

    async def _propose_pending(self) -> None:
        pause = RETRY_SECONDS_MIN
        while True:
            await asyncio.sleep(0)  # all that one tick or one input proposes goes together
            self._forget_void()
            if not self._pending:
                break
            self._changed.clear()
            asked = dict(list(self._pending.items())[:PARTITIONS_PER_REQUEST_MAX])
            if await self._ask(asked):
                pause = RETRY_SECONDS_MIN
                if any(key not in asked for key in self._pending):
                    continue
            self._forget_void()
            if self._pending:
                await self._pause(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _pause(self, seconds: float) -> None:
        """Until something changed, but not longer than ``seconds``: then the same is asked again."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _forget_void(self) -> None:
        """What its partition does not wait for any more: decided, resigned, deleted."""
        self._pending = {
            key: (partition, proposal)
            for key, (partition, proposal) in self._pending.items()
            if _is_awaited(partition, proposal)
        }

    async def _ask(self, asked: dict[Key, tuple[Partition, ProposeIsr]]) -> bool:
        """Send them and act on the answer; whether there was one that settled any."""
        image = self._image()
        own = image.brokers.get(self._node_id)
        if own is None or image.controller_id == NO_LEADER:
            return False
        self._requests_total += 1
        try:
            response = await self._peers.request(
                image.controller_id,
                ApiKey.ALTER_PARTITION,
                ALTER_PARTITION_VERSION,
                request_message(self._node_id, own.epoch, asked.values()),
            )
        except KafkaError as error:
            logger.info("%d in-sync sets will be proposed again: %s", len(asked), error)
            return False
        except Exception:
            logger.exception("proposing %d in-sync sets failed", len(asked))
            return False
        if response.error_code:
            logger.info("%d in-sync sets will be proposed again: %s", len(asked), ErrorCode(response.error_code).name)
            return False
        settled = False
        for topic in response.topics:
            for answer in topic.partitions:
                found = asked.get((topic.topic_id, answer.partition_index))
                if found is not None and _is_awaited(*found):
                    try:
                        settled = self._settle(*found, answer) or settled
                    except Exception:  # one partition must not keep the others from their answers
                        logger.exception("%s: the answer of the controller failed", found[0].topic_partition)
        return settled

    def _settle(self, partition: Partition, proposal: ProposeIsr, answer: Any) -> bool:
        code = ErrorCode(answer.error_code)
        if code is ErrorCode.NONE:
            isr = frozenset(answer.isr)
            if answer.leader_epoch != proposal.leader_epoch or not isr <= set(partition.state.replicas):
                return False  # of a state we have not heard of: the image will tell
            if answer.partition_epoch == proposal.partition_epoch:
                partition.perform(partition.state.on_proposal_refused())  # it is so already
                return True
            self._accepted_total += 1
            partition.perform(partition.state.on_isr_decided(isr, answer.partition_epoch))
            return True
        if code in _REFUSED:
            self._refused_total += 1
            logger.info("%s: %s is no in-sync set: %s", partition.topic_partition, sorted(proposal.isr), code.name)
            now_ms = int(self._clock.monotonic() * 1_000)
            partition.perform(partition.state.on_proposal_refused(not_before_ms=now_ms + GROWTH_PAUSE_MS))
            return True
        logger.info("%s: %s not decided: %s", partition.topic_partition, sorted(proposal.isr), code.name)
        return False


def _is_awaited(partition: Partition, proposal: ProposeIsr) -> bool:
    state = partition.state
    return (
        state.is_leader
        and state.proposed_isr == proposal.isr
        and state.leader_epoch == proposal.leader_epoch
        and state.partition_epoch == proposal.partition_epoch
    )


def request_message(node_id: BrokerId, broker_epoch: int, asked: Iterable[tuple[Partition, ProposeIsr]]) -> Any:
    """The proposals by topic. A new member is named with the registration it fetched with, so that the controller can
    tell whether it is still that one."""
    message = m.AlterPartitionRequest
    topics: dict[TopicId, list[Any]] = {}
    for partition, proposal in asked:
        followers = partition.state.followers
        members = [
            message.BrokerState(
                broker_id=member,
                broker_epoch=broker_epoch
                if member == node_id
                else followers[member].broker_epoch
                if member in followers
                else _NO_BROKER_EPOCH,
            )
            for member in sorted(proposal.isr)
        ]
        topics.setdefault(partition.topic_id, []).append(
            message.PartitionData(
                partition_index=partition.topic_partition.partition,
                leader_epoch=proposal.leader_epoch,
                new_isr_with_epochs=members,
                partition_epoch=proposal.partition_epoch,
            )
        )
    return message(
        broker_id=node_id,
        broker_epoch=broker_epoch,
        topics=[message.TopicData(topic_id=topic_id, partitions=partitions) for topic_id, partitions in topics.items()],
    )
