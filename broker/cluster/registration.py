"""This broker's place in the cluster: its session with the store, its registration, and noticing who lost theirs.

Owns: the session, the record registered with it, and the two heartbeats, one that renews the own session and one that ends
those of others that ran out. A session that was lost (the broker hung for longer than its timeout) is replaced by another
one with another incarnation, and so another broker epoch: what the broker was in sync with then counts no longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from broker.clock import Clock
from broker.cluster import controller, records
from broker.cluster.image import ClusterImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import MetadataStore, SessionExpired, SessionNameTaken, StoreError, StoreUnavailable
from broker.types import TopicId, format_topic_id

log = logging.getLogger(__name__)

EXPIRY_SECONDS_MAX = 0.5
"""How often a broker looks for others that are gone, at least: part of the time a failover takes."""

LOST_REPLICAS_MAX = 1_000
"""Named one by one in a registration; with more, everything counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStanding:
    """What a start found of this broker's logs; see ``BrokerRecord``."""

    intact: bool = True
    lost: Collection[tuple[TopicId, int]] = ()
    """(topic id, partition)."""


class Registration:
    def __init__(
        self, store: MetadataStore, *, config: Callable[[], BrokerConfig], incarnation: str, clock: Clock
    ) -> None:
        self.session: str | None = None
        self.record: records.BrokerRecord | None = None
        """The present one."""
        self.store_trouble = ""
        """Why the session could not be renewed when that was last tried; empty when it could."""
        self.store_trouble_since_ms = -1
        self._store = store
        self._config = config
        self._incarnation = incarnation
        self._clock = clock
        self._registrations = 0
        self._still_lost: Callable[[], Collection[tuple[TopicId, int]]] = tuple
        self._was_settled = False
        self._complete = False
        """Whether the session has its registration. One whose commit failed is replaced, as if it had been lost."""

    async def open(
        self,
        *,
        host: str | None,
        port: int | None,
        internal_host: str | None,
        internal_port: int | None,
        data: DataStanding,
        still_lost: Callable[[], Collection[tuple[TopicId, int]]],
    ) -> None:
        self._still_lost = still_lost
        config = self._config()
        self.record = records.BrokerRecord(
            id=config.node_id,
            host=config.advertised_host if host is None else host,
            port=config.advertised_port if port is None else port,
            # What we tell others: a listener on every interface is reached where clients reach us.
            internal_host=_reachable(internal_host or config.internal_host, config.advertised_host),
            internal_port=config.internal_port if internal_port is None else internal_port,
            rack=config.broker_rack,
            incarnation="",
            data_intact=data.intact,
            lost=_names(data.lost),
        )
        await self._register()

    async def _register(self) -> None:
        assert self.record is not None
        config = self._config()
        try:
            session = await self._store.open_session(f"broker-{config.node_id}", config.broker_session_timeout_ms)
        except SessionNameTaken as error:
            raise KafkaError(
                ErrorCode.DUPLICATE_BROKER_REGISTRATION, f"A broker with id {config.node_id} is already running."
            ) from error
        self.session = session
        record = msgspec.structs.replace(
            self.record, incarnation=self._incarnation, registered_at_ms=self._clock.wall_ms()
        )
        if self._registrations:
            # The process lived on, and with it whatever its logs have; what they lacked they may still lack. What an earlier
            # registration had to confess counts until the controller has heard of it.
            record = msgspec.structs.replace(
                record,
                incarnation=f"{self._incarnation}.{self._registrations}",
                data_intact=self._was_settled or self.record.data_intact,
                lost=_names(self._still_lost()),
            )
        self._registrations += 1
        await self._store.commit(controller.decide_register(record, session))
        self.record = record
        self._complete = True

    async def keep(self) -> None:
        """Renew the session for ever, and register again when it is lost."""
        while True:
            await asyncio.sleep(self._config().broker_heartbeat_interval_ms / 1000)
            try:
                assert self.session is not None
                if not self._complete:
                    raise SessionExpired(self.session)
                await self._store.renew_session(self.session)
                self._note_store("")
            except SessionExpired:
                await self._register_again()
            except StoreUnavailable as error:
                self._note_store(str(error))
                log.warning("metadata: the session could not be renewed: %s", error)

    def _note_store(self, trouble: str) -> None:
        """What became of the latest renewal of our session, which goes to the store every few seconds anyway."""
        if not trouble:
            self.store_trouble_since_ms = -1
        elif not self.store_trouble:
            self.store_trouble_since_ms = self._clock.wall_ms()
        self.store_trouble = trouble

    async def expire_others(self) -> None:
        """Have everybody notice those who are gone, for ever. Whoever looks first ends their sessions."""
        while True:
            await asyncio.sleep(min(EXPIRY_SECONDS_MAX, self._config().broker_heartbeat_interval_ms / 1000))
            with contextlib.suppress(StoreUnavailable):  # the other heartbeat says so
                await self._store.expire_sessions()

    async def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            with contextlib.suppress(StoreError):
                await self._store.close_session(session)

    def is_settled_in(self, image: ClusterImage) -> bool:
        """Whether the controller has taken note of the present registration."""
        if self.record is None:
            return False
        broker = image.brokers.get(self.record.id)
        return broker is not None and broker.incarnation == self.record.incarnation and image.is_settled(broker.id)

    def note_settled(self) -> None:
        """The controller has acted on what this process had to say of its data."""
        self._was_settled = True

    async def _register_again(self) -> None:
        log.warning("metadata: broker %d lost its session, registering again", self._config().node_id)
        assert self.session is not None
        self._complete = False
        try:
            await self._store.close_session(self.session)
            await self._register()
        except (StoreError, KafkaError) as error:
            log.warning("metadata: registering again failed, will retry: %s", error)


def _names(lost: Collection[tuple[TopicId, int]]) -> list[str]:
    if len(lost) > LOST_REPLICAS_MAX:
        return [records.EVERY_REPLICA]
    return sorted(records.replica_name(format_topic_id(topic_id), index) for topic_id, index in lost)


def _reachable(host: str, advertised_host: str) -> str:
    return advertised_host if host in ("0.0.0.0", "::", "") else host
