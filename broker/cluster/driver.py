"""Performs the control plane's decisions and keeps this broker's ``ClusterImage`` current.

Owns: the image, and the way of a change: decide on the image (``admin_calls.py`` names the decisions), commit, wait until the
commit came back through the watch and every subscriber has acted on it, answer. A commit that loses a race is decided again on
the newer image. Being registered is ``registration.py``, being controller ``duty.py``.

Life: ``start`` (the image is there, nobody is told of us yet) → ``register`` (live, fresh leader epochs) → ``hand_over`` (others
lead what they can) → ``stop``.

Loss of the store: the image stays as it is, so leaders keep serving; admin requests fail with REQUEST_TIMED_OUT until the
store is back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from broker.clock import Clock, SystemClock
from broker.cluster import controller, records
from broker.cluster.admin_calls import AdminCalls
from broker.cluster.decision import Decision
from broker.cluster.duty import ControllerDuty
from broker.cluster.image import EMPTY_IMAGE, ClusterImage, ImageDelta, fold
from broker.cluster.producer_ids import ProducerIds
from broker.cluster.registration import DataStanding, Registration
from broker.cluster.standing import count_relievable
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import (
    Absent,
    Commit,
    MetadataStore,
    PreconditionFailed,
    RevisionCompacted,
    Snapshot,
    StoreError,
    StoreUnavailable,
    Transaction,
)
from broker.types import BrokerId, TopicId

log = logging.getLogger(__name__)

DECISIONS_MAX = 20
"""Times a decision is made anew after losing a race."""
APPLY_TIMEOUT_SECONDS = 30.0
"""How long a committed change may take to come back through the watch."""
STORE_RETRY_SECONDS = 0.5
VISIBILITY_SECONDS = 1.0
"""How long an admin request's answer may wait for the other brokers. One that hangs must not stop the cluster."""

INTACT = DataStanding()
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


class ClusterDriver(AdminCalls):
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
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._subscribers: list[Subscriber] = []
        self._advanced = asyncio.Event()
        """Set, and replaced by a new one, whenever the image advances."""
        self._unacknowledged = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._producer_ids = ProducerIds(store)
        self._registration = Registration(store, config=lambda: self.config, incarnation=incarnation, clock=self._clock)
        self._duty = ControllerDuty(
            store,
            self._registration,
            image=lambda: self.image,
            config=lambda: self.config,
            wait_revision=self._wait_revision,
            clock=self._clock,
        )

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
        data: DataStanding = INTACT,
        still_lost: Callable[[], Collection[tuple[TopicId, int]]] = tuple,
    ) -> None:
        """Become a live broker; returns when the controller has given our partitions fresh leader epochs.

        Addresses default to the config's; they are given when the system chose the ports. ``still_lost``: what is told
        with a later registration of this process. Raises ``KafkaError`` DUPLICATE_BROKER_REGISTRATION if a broker of
        this id is alive.
        """
        await self._registration.open(
            host=host,
            port=port,
            internal_host=internal_host,
            internal_port=internal_port,
            data=data,
            still_lost=still_lost,
        )
        self._spawn(self._registration.keep(), "cluster-session")
        self._spawn(self._registration.expire_others(), "cluster-expiry")
        self._spawn(self._duty.perform(), "cluster-controller")
        self._spawn(self._duty.balance(), "cluster-balance")
        self._spawn(self._keep_acknowledging(), "cluster-acknowledge")
        await self._wait_until(self._registration.is_settled_in, "registration")
        self._registration.note_settled()

    async def hand_over(self, timeout_seconds: float) -> int:
        """Controlled shutdown: have others lead what they can, and be controller. How much could not be handed over
        in that time; nothing to do when this is the only broker."""
        own, session = self.config.node_id, self._registration.session
        if session is None or not any(b not in self.image.stopping for b in self.image.brokers if b != own):
            return 0
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._store.commit(controller.decide_stopping(own, session, now_ms=self._clock.wall_ms()))
                while own not in self.image.stopping or count_relievable(self.image, own):
                    await self._advanced.wait()
                while self.is_controller:
                    try:
                        revision = await self._store.commit(controller.decide_resignation(self.image))
                    except PreconditionFailed as conflict:
                        revision = conflict.revision
                    await self._wait_revision(revision)
        except (TimeoutError, StoreError, KafkaError) as error:
            left = count_relievable(self.image, own)
            log.warning("metadata: stopping with %d partitions not handed over: %s", left, error or "no time left")
            return left
        return 0

    async def stop(self) -> None:
        """Leave the cluster at once: others need not wait for our session to run out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._registration.close()
        await self._store.close()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Be called, on the loop and in order, for every later change of the image; never for one twice.

        Subscribers run before whoever asked for the change gets the answer. They must not await or raise.
        """
        self._subscribers.append(subscriber)

    @property
    def is_controller(self) -> bool:
        return self.image.controller_id == self.config.node_id

    @property
    def broker_epoch(self) -> int:
        """Of this broker's present registration; -1 while there is none."""
        broker = self.image.brokers.get(self.config.node_id)
        return broker.epoch if broker is not None and self._registration.is_settled_in(self.image) else -1

    def statistics(self) -> ClusterStatistics:
        image = self.image
        return ClusterStatistics(
            revision=image.revision,
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            controller_epoch=image.controller_epoch,
            live_brokers=len(image.brokers),
            topics=len(image.topics_by_name),
            registered=self._registration.is_settled_in(image),
            store_trouble=self._registration.store_trouble,
            store_trouble_since_ms=self._registration.store_trouble_since_ms,
        )

    # Changes ---------------------------------------------------------------------------------------------

    async def _perform(
        self,
        decide: Callable[[ClusterImage], Decision[Result]],
        *,
        validate_only: bool = False,
        everywhere: bool = True,
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
            await self._wait_revision(revision)
            if everywhere:
                await self._wait_everywhere(revision)
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
        self._duty.note(delta)

    async def _wait_revision(self, revision: int) -> None:
        await self._wait_until(lambda image: image.revision >= revision, f"revision {revision}")

    async def _wait_everywhere(self, revision: int) -> None:
        """Wait until every live broker acts on ``revision``: clients ask any of them next."""
        if len(self.image.brokers) > 1:
            with contextlib.suppress(StoreUnavailable):  # it is committed; the others will see it
                await self._store.wait_acknowledged(revision, VISIBILITY_SECONDS)

    async def _keep_acknowledging(self) -> None:
        while True:
            await self._unacknowledged.wait()
            self._unacknowledged.clear()
            session = self._registration.session
            if len(self.image.brokers) > 1 and session is not None:
                with contextlib.suppress(StoreUnavailable):  # said again with the next revision
                    await self._store.acknowledge(session, self.image.revision)

    async def _wait_until(self, condition: Callable[[ClusterImage], bool], what: str) -> None:
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_SECONDS):
                while not condition(self.image):
                    await self._advanced.wait()
        except TimeoutError:
            raise KafkaError(
                ErrorCode.REQUEST_TIMED_OUT, f"The metadata did not reach {what} in {APPLY_TIMEOUT_SECONDS:.0f} s."
            ) from None

    def _spawn(self, work: object, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)  # type: ignore[arg-type]
        task.add_done_callback(_complain)
        self._tasks.append(task)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("metadata: %s stopped", task.get_name(), exc_info=error)


def _folded(snapshot: Snapshot) -> ClusterImage:
    return fold(EMPTY_IMAGE, Commit(revision=snapshot.revision, puts=snapshot.entries))
