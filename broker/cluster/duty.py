"""What a broker does for the cluster when it has to: claim the controllership that nobody has, and act as controller: at
once where something happened, and from time to time where leadership has become uneven.

Owns: what the controller has not looked at yet. Everybody runs this; whoever is not controller only waits for the day when
nobody is. A look that lost a race is repeated on the newer image, and what a failed attempt looked at is looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from broker.clock import Clock
from broker.cluster import controller
from broker.cluster.image import ClusterImage, ImageDelta, TopicImage
from broker.cluster.leader_balance import decide_balance
from broker.cluster.partition_changes import LOSSY_CAUSES
from broker.cluster.registration import Registration
from broker.config.broker import BrokerConfig
from broker.errors import KafkaError
from broker.metadata.store import MetadataStore, PreconditionFailed, SessionExpired, StoreUnavailable
from broker.types import TopicId

log = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 0.5


class ControllerDuty:
    def __init__(
        self,
        store: MetadataStore,
        registration: Registration,
        *,
        image: Callable[[], ClusterImage],
        config: Callable[[], BrokerConfig],
        wait_revision: Callable[[int], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._registration = registration
        self._image = image
        self._config = config
        self._wait_revision = wait_revision
        self._clock = clock
        self._due = asyncio.Event()
        self._everything_unchecked = True
        """Brokers came or went (or we were elected) since the last look at all partitions."""
        self._unchecked: set[TopicId] = set()

    def note(self, delta: ImageDelta) -> None:
        """The image advanced."""
        if (
            delta.brokers_changed
            or delta.broker_uses_changed
            or delta.broker_configs_changed
            or delta.old.controller_id != delta.new.controller_id
        ):
            self._everything_unchecked = True
        self._unchecked.update(topic.topic_id for topic in delta.created_topics)
        self._unchecked.update(after.topic_id for _, after in delta.changed_topics)
        self._due.set()
        if delta.old.revision:
            _tell_of_losses(delta)

    async def perform(self) -> None:
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._perform_once()
            except PreconditionFailed as conflict:
                # Another broker was faster. Its change is on its way here; look again when it has arrived.
                with contextlib.suppress(KafkaError):
                    await self._wait_revision(conflict.revision)
                self._due.set()
            except (StoreUnavailable, SessionExpired, KafkaError) as error:
                # The last one: the commit has not come back through the watch in time.
                log.warning("metadata: controller duty postponed: %s", error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
                self._due.set()

    async def balance(self) -> None:
        """Give leadership back to preferred leaders, for ever, every ``leader.imbalance.check.interval.seconds``."""
        while True:
            await asyncio.sleep(self._config().leader_imbalance_check_interval_seconds)
            try:
                while await self._balance_once():
                    pass
            except (StoreUnavailable, SessionExpired, KafkaError) as error:
                log.warning("metadata: preferred leaders are elected another time: %s", error)

    async def _balance_once(self) -> bool:
        """Whether there may be more to do."""
        image, record, config = self._image(), self._registration.record, self._config()
        if record is None or image.controller_id != record.id or not config.auto_leader_rebalance_enable:
            return False
        decision = decide_balance(image, config=config, now_ms=self._clock.wall_ms())
        if decision is None:
            return False
        try:
            await self._wait_revision(await self._store.commit(decision))
        except PreconditionFailed as conflict:
            await self._wait_revision(conflict.revision)
        else:
            log.info("metadata: %d partitions are led by their preferred leaders again", len(decision.puts))
        return True

    async def _perform_once(self) -> None:
        image, record = self._image(), self._registration.record
        assert record is not None
        if image.controller_id not in image.brokers:
            await self._claim(image)
        elif image.controller_id != record.id:
            self._unchecked.clear()
        else:
            await self._look(image)

    async def _claim(self, image: ClusterImage) -> None:
        record, session = self._registration.record, self._registration.session
        if record is None or session is None or record.id not in image.brokers:
            return  # our registration is still on its way
        if record.id in image.stopping and not image.stopping.issuperset(image.brokers):
            return  # others stay
        transaction = controller.decide_election(
            image, record.id, record.incarnation, session, now_ms=self._clock.wall_ms()
        )
        await self._wait_revision(await self._store.commit(transaction))
        log.info("metadata: broker %d is controller, epoch %d", record.id, self._image().controller_epoch)

    async def _look(self, image: ClusterImage) -> None:
        everything, unchecked = self._everything_unchecked, set(self._unchecked)
        topics: Iterable[TopicImage] = image.topics_by_id.values()
        if not everything:
            topics = [image.topics_by_id[topic_id] for topic_id in unchecked if topic_id in image.topics_by_id]
        decision = controller.decide_leadership(image, topics, config=self._config(), now_ms=self._clock.wall_ms())
        if decision is not None:
            await self._wait_revision(await self._store.commit(decision))
            self._due.set()
        elif self._image() is image:
            self._everything_unchecked = False
            self._unchecked -= unchecked


def _tell_of_losses(delta: ImageDelta) -> None:
    """Records may be lost: every broker says so in its log, whoever decided it."""
    for before, after in delta.changed_topics:
        for index, partition in enumerate(after.partitions[: len(before.partitions)]):
            if partition.cause in LOSSY_CAUSES and partition.leader_epoch != before.partitions[index].leader_epoch:
                log.error(
                    "metadata: %s-%d is led by broker %d, which was not known to have all acknowledged records (%s): "
                    "some may be lost",
                    after.name,
                    index,
                    partition.leader,
                    partition.cause.replace("_", " "),
                )
