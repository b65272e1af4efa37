"""Performs the control plane's decisions and keeps this broker's ``ClusterImage`` current.

Owns: the image, the broker's registration and session, the controller's duty when this broker is controller, and the
way of an admin request: decide on the image (``topic_admin.py``, ``config_admin.py``), commit, wait until the commit came back through the watch
and every subscriber has acted on it, answer. A commit that loses a race is decided again on the newer image.

Life: ``start`` (the image is there, nobody is told of us yet) → ``register`` (live, fresh leader epochs) → ``stop``.

Loss of the store: the image stays as it is, so leaders keep serving; admin requests fail with REQUEST_TIMED_OUT until the
store is back. Loss of the session (a broker stopped for longer than its timeout): register again, under a new incarnation.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from broker.clock import Clock, SystemClock
from broker.cluster import config_admin, controller, records, topic_admin
from broker.cluster.automatic_topics import automatic_topic
from broker.cluster.config_changes import ResourceChange
from broker.cluster.decision import Decision, NewPartitions, NewTopic, ResourceResult, TopicResult
from broker.cluster.image import EMPTY_IMAGE, ClusterImage, ImageDelta, TopicImage, fold
from broker.cluster.producer_ids import ProducerIds
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import (
    Absent,
    Commit,
    MetadataStore,
    PreconditionFailed,
    RevisionCompacted,
    SessionExpired,
    SessionNameTaken,
    Snapshot,
    StoreError,
    StoreUnavailable,
    Transaction,
)
from broker.types import BrokerId, TopicId, new_topic_id

log = logging.getLogger(__name__)

DECISIONS_MAX = 20
"""Times a decision is made anew after losing a race."""
APPLY_TIMEOUT_SECONDS = 30.0
"""How long a committed change may take to come back through the watch."""
STORE_RETRY_SECONDS = 0.5
VISIBILITY_SECONDS = 1.0
"""How long an admin request's answer may wait for the other brokers. One that hangs must not stop the cluster."""

Subscriber = Callable[[ImageDelta], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatistics:
    revision: int
    cluster_id: str
    controller_id: BrokerId
    controller_epoch: int
    live_brokers: int
    topics: int
    registered: bool
    store_trouble: str
    """Why the metadata store could not be used when it was last tried; empty when it could."""
    store_trouble_since_ms: int


class ClusterDriver:
    def __init__(
        self,
        store: MetadataStore,
        config: BrokerConfig,
        *,
        incarnation: str,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.image: ClusterImage = EMPTY_IMAGE
        self.config = config
        """The effective config: the static one under what the cluster set dynamically. Replaced, never changed."""
        self._store = store
        self._incarnation = incarnation
        self._registrations = 0
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._session: str | None = None
        self._record: records.BrokerRecord | None = None
        """Our present registration."""
        self._subscribers: list[Subscriber] = []
        self._advanced = asyncio.Event()
        """Set, and replaced by a new one, whenever the image advances."""
        self._unacknowledged = asyncio.Event()
        self._duty = asyncio.Event()
        self._leadership_unchecked = True
        """Brokers came or went (or we were elected) since the controller last looked at all partitions."""
        self._topics_unchecked: set[TopicId] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._producer_ids = ProducerIds(store)
        self._store_trouble = ""
        self._store_trouble_since_ms = -1

    # Life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the image and follow it. After this ``image``, ``image.cluster_id`` and ``config`` are valid."""
        await self._store.start()
        await self._ensure_cluster_id()
        self._advance(_folded(await self._store.range()))
        self._spawn(self._follow(), "cluster-follow")

    async def register(
        self,
        *,
        host: str | None = None,
        port: int | None = None,
        internal_host: str | None = None,
        internal_port: int | None = None,
    ) -> None:
        """Become a live broker; returns when the controller has given our partitions fresh leader epochs.

        Addresses default to the config's; they are given when the system chose the ports. Raises ``KafkaError``
        DUPLICATE_BROKER_REGISTRATION if a broker of this id is alive.
        """
        config = self.config
        self._record = records.BrokerRecord(
            id=config.node_id,
            host=config.advertised_host if host is None else host,
            port=config.advertised_port if port is None else port,
            # What we tell others: a listener on every interface is reached where clients reach us.
            internal_host=_reachable(internal_host or config.internal_host, config.advertised_host),
            internal_port=config.internal_port if internal_port is None else internal_port,
            rack=config.broker_rack,
            incarnation="",
        )
        await self._open_registration()
        self._spawn(self._keep_session(), "cluster-session")
        self._spawn(self._do_duty(), "cluster-controller")
        self._spawn(self._keep_acknowledging(), "cluster-acknowledge")
        await self._wait_until(lambda image: self._is_registered(image), "registration")

    async def stop(self) -> None:
        """Leave the cluster at once: others need not wait for our session to run out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(StoreError):
                await self._store.close_session(session)
        await self._store.close()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Be called, on the loop and in order, for every later change of the image; never for one twice.

        Subscribers run before whoever asked for the change gets the answer. They must not await or raise.
        """
        self._subscribers.append(subscriber)

    @property
    def is_controller(self) -> bool:
        return self.image.controller_id == self.config.node_id

    def statistics(self) -> ClusterStatistics:
        image = self.image
        return ClusterStatistics(
            revision=image.revision,
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            controller_epoch=image.controller_epoch,
            live_brokers=len(image.brokers),
            topics=len(image.topics_by_name),
            registered=self._is_registered(image),
            store_trouble=self._store_trouble,
            store_trouble_since_ms=self._store_trouble_since_ms,
        )

    # Admin requests --------------------------------------------------------------------------------------

    async def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        return await self._perform(
            lambda image: topic_admin.decide_create_topics(
                image,
                topics,
                config=self.config,
                random=self._random,
                new_topic_id=new_topic_id,
                now_ms=self._clock.wall_ms(),
            ),
            validate_only,
        )

    async def delete_topics(self, topics: Sequence[tuple[str | None, TopicId]]) -> tuple[TopicResult, ...]:
        """``topics`` are (name, zero id) or (None, id)."""
        return await self._perform(
            lambda image: topic_admin.decide_delete_topics(image, topics, config=self.config), False
        )

    async def create_partitions(
        self, requests: Sequence[NewPartitions], *, validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        return await self._perform(
            lambda image: topic_admin.decide_create_partitions(
                image, requests, random=self._random, now_ms=self._clock.wall_ms()
            ),
            validate_only,
        )

    async def alter_configs(
        self, changes: Sequence[ResourceChange], *, validate_only: bool = False
    ) -> tuple[ResourceResult, ...]:
        """Serves AlterConfigs and IncrementalAlterConfigs: ``ResourceChange.replace`` tells which."""
        return await self._perform(
            lambda image: config_admin.decide_alter_configs(image, changes, config=self.config), validate_only
        )

    async def create_topics_automatically(self, names: Iterable[str]) -> dict[str, KafkaError | None]:
        """Create with the broker's defaults; internal topics with their own. One that exists already is a success."""
        live = len(self.image.brokers)
        topics = [automatic_topic(name, self.config, live_brokers=live) for name in dict.fromkeys(names)]
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

    async def _perform(
        self, decide: Callable[[ClusterImage], Decision[Result]], validate_only: bool
    ) -> tuple[Result, ...]:
        for _ in range(DECISIONS_MAX):
            decision = decide(self.image)
            if decision.transaction is None or validate_only:
                return decision.results
            try:
                revision = await self._store.commit(decision.transaction)
            except PreconditionFailed as conflict:
                await self._wait_revision(conflict.revision)
                continue
            except StoreUnavailable as error:
                raise KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT, f"The metadata store is not available: {error}"
                ) from error
            await self._wait_visible(revision)
            return decision.results
        raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "Too many concurrent changes of the cluster's metadata.")

    # The image -------------------------------------------------------------------------------------------

    async def _ensure_cluster_id(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        record = records.encode(records.ClusterRecord(cluster_id=cluster_id))
        with contextlib.suppress(PreconditionFailed):  # it has one already
            await self._store.commit(
                Transaction(preconditions=(Absent(records.CLUSTER),), puts={records.CLUSTER: record})
            )

    async def _follow(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._store.watch(self.image.revision)) as commits:
                    async for commit in commits:
                        self._advance(fold(self.image, commit))
                return  # the store was closed
            except RevisionCompacted:
                log.warning("metadata: fell behind the change log, reading a snapshot")
                self._advance(_folded(await self._store.range()))
            except StoreUnavailable as error:
                log.warning("metadata: %s; the last known state stays in force", error)
                await asyncio.sleep(STORE_RETRY_SECONDS)

    def _advance(self, image: ClusterImage) -> None:
        delta = ImageDelta(old=self.image, new=image)
        self.image = image
        if delta.broker_configs_changed:
            own = image.broker_configs.get(str(self.config.node_id), {})
            self.config = self.config.with_dynamic(image.broker_configs.get("", {}), own)
        for subscriber in self._subscribers:
            try:
                subscriber(delta)
            except Exception:  # one faulty part must not cut the others off from the cluster
                log.exception("metadata: a subscriber failed on revision %d", image.revision)
        self._advanced.set()
        self._advanced = asyncio.Event()
        self._unacknowledged.set()
        self._note_for_controller(delta)

    async def _wait_revision(self, revision: int) -> None:
        await self._wait_until(lambda image: image.revision >= revision, f"revision {revision}")

    async def _wait_visible(self, revision: int) -> None:
        """Wait until every live broker acts on ``revision``: clients ask any of them next."""
        await self._wait_revision(revision)
        if len(self.image.brokers) > 1:
            with contextlib.suppress(StoreUnavailable):  # it is committed; the others will see it
                await self._store.wait_acknowledged(revision, VISIBILITY_SECONDS)

    async def _keep_acknowledging(self) -> None:
        while True:
            await self._unacknowledged.wait()
            self._unacknowledged.clear()
            if len(self.image.brokers) > 1 and self._session is not None:
                with contextlib.suppress(StoreUnavailable):  # said again with the next revision
                    await self._store.acknowledge(self._session, self.image.revision)

    async def _wait_until(self, condition: Callable[[ClusterImage], bool], what: str) -> None:
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_SECONDS):
                while not condition(self.image):
                    await self._advanced.wait()
        except TimeoutError:
            raise KafkaError(
                ErrorCode.REQUEST_TIMED_OUT, f"The metadata did not reach {what} in {APPLY_TIMEOUT_SECONDS:.0f} s."
            ) from None

    # Registration ----------------------------------------------------------------------------------------

    async def _open_registration(self) -> None:
        assert self._record is not None
        config = self.config
        try:
            session = await self._store.open_session(f"broker-{config.node_id}", config.broker_session_timeout_ms)
        except SessionNameTaken as error:
            raise KafkaError(
                ErrorCode.DUPLICATE_BROKER_REGISTRATION, f"A broker with id {config.node_id} is already running."
            ) from error
        suffix = f".{self._registrations}" if self._registrations else ""
        self._registrations += 1
        record = records.BrokerRecord(
            id=self._record.id,
            host=self._record.host,
            port=self._record.port,
            internal_host=self._record.internal_host,
            internal_port=self._record.internal_port,
            rack=self._record.rack,
            incarnation=self._incarnation + suffix,
            registered_at_ms=self._clock.wall_ms(),
        )
        await self._store.commit(controller.decide_register(record, session))
        self._record, self._session = record, session

    def _is_registered(self, image: ClusterImage) -> bool:
        broker = image.brokers.get(self.config.node_id)
        return (
            self._record is not None
            and broker is not None
            and broker.incarnation == self._record.incarnation
            and image.is_settled(broker.id)
        )

    async def _keep_session(self) -> None:
        while True:
            await asyncio.sleep(self.config.broker_heartbeat_interval_ms / 1000)
            try:
                assert self._session is not None
                await self._store.renew_session(self._session)
                self._note_store("")
                await self._store.expire_sessions()
            except SessionExpired:
                await self._register_again()
            except StoreUnavailable as error:
                self._note_store(str(error))
                log.warning("metadata: the session could not be renewed: %s", error)

    def _note_store(self, trouble: str) -> None:
        """What became of the latest renewal of our session, which goes to the store every few seconds anyway."""
        if not trouble:
            self._store_trouble_since_ms = -1
        elif not self._store_trouble:
            self._store_trouble_since_ms = self._clock.wall_ms()
        self._store_trouble = trouble

    async def _register_again(self) -> None:
        log.warning("metadata: broker %d lost its session, registering again", self.config.node_id)
        assert self._session is not None
        try:
            await self._store.close_session(self._session)
            await self._open_registration()
        except (StoreError, KafkaError) as error:
            log.warning("metadata: registering again failed, will retry: %s", error)

    # The controller's duty -------------------------------------------------------------------------------

    def _note_for_controller(self, delta: ImageDelta) -> None:
        if delta.brokers_changed or delta.old.controller_id != delta.new.controller_id:
            self._leadership_unchecked = True
        self._topics_unchecked.update(topic.topic_id for topic in delta.created_topics)
        self._topics_unchecked.update(after.topic_id for _, after in delta.changed_topics)
        self._duty.set()

    async def _do_duty(self) -> None:
        self._duty.set()
        while True:
            await self._duty.wait()
            self._duty.clear()
            try:
                await self._do_duty_once()
            except PreconditionFailed as conflict:
                # Another broker was faster. Its change is on its way here; look again when it has arrived.
                with contextlib.suppress(KafkaError):
                    await self._wait_revision(conflict.revision)
                self._duty.set()
            except (StoreUnavailable, SessionExpired) as error:
                log.warning("metadata: controller duty postponed: %s", error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
                self._duty.set()

    async def _do_duty_once(self) -> None:
        image = self.image
        assert self._session is not None
        assert self._record is not None
        if image.controller_id not in image.brokers:
            if self._record.id not in image.brokers:
                return  # our registration is still on its way
            transaction = controller.decide_election(
                image, self._record.id, self._record.incarnation, self._session, now_ms=self._clock.wall_ms()
            )
            await self._wait_revision(await self._store.commit(transaction))
            log.info("metadata: broker %d is controller, epoch %d", self._record.id, self.image.controller_epoch)
            return
        if image.controller_id != self._record.id:
            self._topics_unchecked.clear()
            return
        # Cleared only after success: what a failed attempt looked at is looked at again.
        everything, unchecked = self._leadership_unchecked, set(self._topics_unchecked)
        topics: Iterable[TopicImage] = image.topics_by_id.values()
        if not everything:
            topics = [image.topics_by_id[topic_id] for topic_id in unchecked if topic_id in image.topics_by_id]
        decision = controller.decide_leadership(image, topics, now_ms=self._clock.wall_ms())
        if decision is not None:
            await self._wait_revision(await self._store.commit(decision))
            self._duty.set()
        elif self.image is image:
            self._leadership_unchecked = False
            self._topics_unchecked -= unchecked

    def _spawn(self, work: object, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)  # type: ignore[arg-type]
        task.add_done_callback(_complain)
        self._tasks.append(task)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("metadata: %s stopped", task.get_name(), exc_info=error)


def _folded(snapshot: Snapshot) -> ClusterImage:
    return fold(EMPTY_IMAGE, Commit(revision=snapshot.revision, puts=snapshot.entries))


def _reachable(host: str, advertised_host: str) -> str:
    return advertised_host if host in ("0.0.0.0", "::", "") else host
