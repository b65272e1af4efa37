"""One broker process: builds every part, starts them in order, stops them in the reverse order. Owns nothing else.

Order of the start, and why: ports are bound first (a taken port must stop everything before anything is touched);
then the cluster image (which topics exist), the logs (recovered with that knowledge), the registration (which gives
our partitions fresh leader epochs), following the leaders of the others, coordinators, and only then do the listeners
accept. Following ends before the logs close.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import resource
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from broker import faultpoints
from broker.client.peers import Peers
from broker.client.replica_connection import ReplicaConnection, open_replica_connection
from broker.client_metrics.instances import ClientInstances
from broker.cluster.driver import ClusterDriver
from broker.cluster.image import EMPTY_IMAGE, ImageDelta
from broker.cluster.loss_reports import LossReports
from broker.cluster.records import CorruptRecord
from broker.cluster.registration import DataStanding
from broker.cluster.store_choice import store_kind
from broker.config.broker import BrokerConfig
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.groups.driver import GroupCoordinator
from broker.handlers.context import Services
from broker.handlers.local_calls import LocalCalls
from broker.handlers.pipeline import Pipeline
from broker.limits import FRAME_BYTES_MAX, OPEN_FILES_RESERVED
from broker.machine import Machine
from broker.metadata.store import StoreError
from broker.network.server import Server, ServerSettings
from broker.partition.fetch_session_cache import FetchSessionCache
from broker.partition.isr_proposals import IsrProposals
from broker.partition.losses import in_sync_again, relied_on, unusable
from broker.partition.manager import PartitionManager
from broker.partition.recompressor import Recompressor
from broker.quotas.driver import Quotas
from broker.quotas.replication import ReplicationThrottle
from broker.replication.driver import Replication
from broker.replication.ports import FrameReceiver
from broker.storage.log_dir import LogDir
from broker.storage.log_dir_opening import LogDirUnusable
from broker.storage.survival import ProcessLife, begin_life, end_doubt
from broker.telemetry.facts import NetworkFacts
from broker.telemetry.sampler import Sampler
from broker.transactions.driver import TransactionCoordinator
from broker.transactions.gate import TransactionGate
from broker.types import TopicId, TopicPartition

logger = logging.getLogger(__name__)

HAND_OVER_SECONDS_MAX = 1.5
"""For the other brokers to take over what this one leads."""
DRAIN_SECONDS_MAX = 3.0
"""For connections to take their last answers; the whole stop has to fit into five seconds."""


class CannotStart(Exception):
    """Why this broker does not start, in one line for the operator."""


class Broker:
    def __init__(self, config: BrokerConfig, loop: asyncio.AbstractEventLoop, machine: Machine | None = None) -> None:
        self.config = config
        self._loop = loop
        self._machine = machine or Machine()
        self._clock = self._machine.clock
        self._incarnation = uuid.uuid4().hex
        self._client_socket, self._internal_socket = _bind_all(config, self._machine)

    # Start ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when the listeners accept. Raises ``CannotStart``."""
        if faultpoints.ENABLED:
            logger.critical(
                "%s: this broker LOSES DATA ON PURPOSE: %s", faultpoints.VARIABLE, sorted(faultpoints.ENABLED)
            )
        secret = self._prepare_home()
        self.cluster = ClusterDriver(
            self._machine.metadata_store(self.config),
            self.config,
            incarnation=self._incarnation,
            clock=self._clock,
            random=self._machine.random,
        )
        try:
            await self.cluster.start()
        except (StoreError, CorruptRecord) as error:
            raise CannotStart(f"the metadata cannot be read: {error}") from error
        self.log_dir = self._open_log_dir()
        self.partitions = PartitionManager(
            node_id=self.config.node_id,
            log_dir=self.log_dir,
            config=lambda: self.cluster.config,
            clock=self._clock,
            loop=self._loop,
            new_flush_scheduler=self._machine.flush_scheduler,
        )
        self.partitions.apply(ImageDelta(old=EMPTY_IMAGE, new=self.cluster.image))
        self.cluster.subscribe(self.partitions.apply)
        await self._register()
        self.groups = GroupCoordinator(
            node_id=self.config.node_id,
            config=self.config,
            clock=self._clock,
            cluster=self.cluster,
            partitions=self.partitions,
        )
        self.peers = Peers(
            node_id=self.config.node_id,
            image=lambda: self.cluster.image,
            secret=secret,
            clock=self._clock,
            local=self._call_locally,
            request_timeout_ms=lambda: self.cluster.config.request_timeout_ms,
        )
        self.isr_proposals = IsrProposals(
            node_id=self.config.node_id, peers=self.peers, image=lambda: self.cluster.image, clock=self._clock
        )
        self.partitions.propose_isr_through(self.isr_proposals)
        self._follow_leaders(secret)
        self.transactions = TransactionCoordinator(
            node_id=self.config.node_id,
            config=self.config,
            clock=self._clock,
            cluster=self.cluster,
            partitions=self.partitions,
            peers=self.peers,
        )
        await self.groups.start()
        self.sampler = self._new_sampler()
        await self.sampler.start()
        self.cluster.subscribe(self._hurry_telemetry)
        self.quotas = Quotas(self._clock)
        self.leader_throttle = ReplicationThrottle()
        self.client_instances = ClientInstances()
        self.recompressor = Recompressor()
        services = self._services(secret)
        self._local_calls = LocalCalls(services)
        # Loading may find decisions whose markers are due at once: the services they go through exist by now.
        await self.transactions.start()
        self.pipeline = Pipeline(services)
        self.server = Server(
            self._loop,
            self.pipeline,
            self._server_settings(),
            after_input=self.partitions.wake_long_polls,
            on_unsent=self.partitions.limit_answers,
        )
        services.connections = self.server
        self._configure_quotas()
        self.client_instances.configure(self.cluster.image.client_metrics_configs)
        self.cluster.subscribe(self._on_image)
        self._note_recovered()
        self.partitions.start()
        self.loss_reports = LossReports(self._lost_replicas, self.cluster.report_loss)
        self.loss_reports.start()
        await self.server.listen(self._client_socket, "client")
        await self.server.listen(self._internal_socket, "internal")

    def _prepare_home(self) -> bytes:
        try:
            return self._machine.cluster_secret(self.config)
        except (OSError, ValueError) as error:
            raise CannotStart(str(error)) from error

    def _open_log_dir(self) -> LogDir:
        image, node_id = self.cluster.image, self.config.node_id
        known: dict[TopicPartition, TopicId] = {
            TopicPartition(topic.name, index): topic.topic_id
            for topic in image.topics_by_name.values()
            for index, partition in enumerate(topic.partitions)
            if node_id in partition.replicas
        }

        @functools.cache
        def config_of(topic: str) -> TopicConfig:
            return TopicConfig.resolve(image.topics_by_name[topic].configs, self.cluster.config)

        try:
            log_dir = LogDir.open(
                str(self.config.data_directory),
                filesystem=self._machine.filesystem,
                clock_wall_ms=self._clock.wall_ms,
                node_id=node_id,
                cluster_id=image.cluster_id,
                configs=lambda partition: config_of(partition.topic),
                known=known,
                flushes=self.config.ack_durability == "flush",
            )
        except (LogDirUnusable, OSError) as error:
            raise CannotStart(f"{self.config.data_directory}: {error}") from error
        for note in log_dir.notes:
            logger.warning("%s", note)
        return log_dir

    async def _register(self) -> None:
        _, port = self._client_socket.getsockname()[:2]
        _, internal_port = self._internal_socket.getsockname()[:2]
        try:
            await self.cluster.register(
                port=self.config.advertised_port or port,
                internal_port=self.config.internal_port or internal_port,
                data=self._data_standing(),
                still_lost=self._lost_of_former_lives,
            )
        except KafkaError as error:
            if error.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION:
                raise CannotStart(f"{error.message} Choose another id with --id.") from error
            raise
        except StoreError as error:
            raise CannotStart(f"the metadata cannot be written: {error}") from error
        try:
            end_doubt(self.log_dir.filesystem, self.log_dir.path, self._life())
        except OSError as error:
            logger.warning("%s: the next start will trust these logs less than it could: %s", self.log_dir.path, error)

    def _follow_leaders(self, secret: bytes) -> None:
        async def connect(
            host: str, port: int, receiver: FrameReceiver, *, receive_buffer_bytes: int
        ) -> ReplicaConnection:
            return await open_replica_connection(
                host,
                port,
                receiver,
                secret=secret,
                receive_buffer_bytes=receive_buffer_bytes,
                # What was asked for, and one batch, which comes whole however large it is.
                frame_bytes_max=self.cluster.config.replica_fetch_response_max_bytes + FRAME_BYTES_MAX,
            )

        self.replication = Replication(
            node_id=self.config.node_id,
            cluster=self.cluster,
            config=lambda: self.cluster.config,
            clock=self._clock,
            loop=self._loop,
            connect=connect,
            peers=self.peers,
            partitions=self.partitions,
        )
        self.cluster.subscribe(self.replication.apply)
        self.partitions.listen_replication(self.replication)
        self.replication.start()

    def _life(self) -> ProcessLife:
        return ProcessLife(boot_id=self._machine.boot_id(), flushes=self.config.ack_durability == "flush")

    def _data_standing(self) -> DataStanding:
        log_dir = self.log_dir
        return DataStanding(
            intact=begin_life(log_dir.filesystem, log_dir.path, self._life(), clean=log_dir.stopped_cleanly),
            lost=self._lost_of_former_lives(),
        )

    def _lost_of_former_lives(self) -> frozenset[tuple[TopicId, int]]:
        """What this broker is thought to have and has not: with every registration, until it is in sync again."""
        log_dir = self.log_dir
        return relied_on(self.cluster.image, self.config.node_id, unusable(log_dir) | log_dir.existence.lost)

    def _note_recovered(self) -> None:
        existence = self.log_dir.existence
        if existence.lost:
            existence.note_recovered(in_sync_again(self.cluster.image, self.config.node_id, existence.lost))

    def _lost_replicas(self) -> frozenset[tuple[TopicId, int]] | None:
        """What somebody relies on and is not here; ``None``: the whole log directory failed."""
        if self.log_dir.failed_reason:
            return None
        return relied_on(self.cluster.image, self.config.node_id, unusable(self.log_dir))

    def _new_sampler(self) -> Sampler:
        return Sampler(
            node_id=self.config.node_id,
            incarnation=self._incarnation,
            clock=self._clock,
            cluster=self.cluster,
            partitions=self.partitions,
            groups=self.groups,
            transactions=self.transactions,
            replication=self.replication,
            network=self._network_facts,
            log_dir=str(self.config.data_directory),
            ack_durability=self.config.ack_durability,
            store=store_kind(self.config),
        )

    def _hurry_telemetry(self, delta: ImageDelta) -> None:
        """Leaders, in-sync sets, brokers and the controller are what people wait to see during a failure."""
        old, new = delta.old, delta.new
        moved = old.topics_by_id is not new.topics_by_id
        if moved or delta.brokers_changed or old.controller_id != new.controller_id:
            self.sampler.hurry()

    def _network_facts(self) -> NetworkFacts:
        server, quotas = self.server.statistics(), self.quotas.statistics()
        return NetworkFacts(
            connections=server.connections,
            requests_total=self.pipeline.requests_total,
            connections_refused_total=server.refused_total,
            connections_stalled_total=server.stalled_total,
            violations_total=server.violations_total,
            unsent_bytes=server.unsent_bytes,
            throttled_total=quotas.throttled_total,
            throttled_ms_total=quotas.throttled_ms_total,
            client_instances=self.client_instances.statistics().instances,
        )

    async def _call_locally(self, api_key: int, api_version: int, message: Any) -> Any:
        return await self._local_calls.call(api_key, api_version, message)

    def _services(self, secret: bytes) -> Services:
        return Services(
            node_id=self.config.node_id,
            cluster_id=self.cluster.image.cluster_id,
            incarnation=self._incarnation,
            config=self.config,
            clock=self._clock,
            cluster=self.cluster,
            partitions=self.partitions,
            groups=self.groups,
            transactions=self.transactions,
            gate=TransactionGate(
                node_id=self.config.node_id,
                coordinator=self.transactions,
                peers=self.peers,
                config=lambda: self.cluster.config,
            ),
            sampler=self.sampler,
            recompressor=self.recompressor,
            fetch_sessions=FetchSessionCache(
                slots=self.config.max_incremental_fetch_session_cache_slots,
                new_id=functools.partial(random.SystemRandom().randrange, 1, 2**31),
            ),
            cluster_secret=secret,
            quotas=self.quotas,
            leader_throttle=self.leader_throttle,
            client_instances=self.client_instances,
        )

    def _on_image(self, delta: ImageDelta) -> None:
        """Connection limits, quotas and subscriptions may change while the broker runs."""
        self._note_recovered()
        self.isr_proposals.on_image_changed()
        if delta.client_metrics_changed:
            self.client_instances.configure(delta.new.client_metrics_configs)
        if delta.broker_configs_changed:
            self._configure_quotas()
            self.server.configure(self._server_settings())

    def _configure_quotas(self) -> None:
        self.quotas.configure(self.cluster.config)
        self.leader_throttle.configure(self.cluster.config.leader_replication_throttled_rate)

    def _server_settings(self) -> ServerSettings:
        config = self.cluster.config
        return ServerSettings(
            frame_bytes_max=config.socket_request_max_bytes,
            connections_max=_possible_connections(config.max_connections),
            connections_per_address_max=config.max_connections_per_ip,
            connections_per_address_overrides=_overrides(config.max_connections_per_ip_overrides),
            idle_ms_max=config.connections_max_idle_ms,
            creation_rate_max=config.max_connection_creation_rate,
            send_buffer_bytes=config.socket_send_buffer_bytes,
            receive_buffer_bytes=config.socket_receive_buffer_bytes,
            request_bytes_max=config.queued_max_request_bytes,
            listen_backlog=config.socket_listen_backlog_size,
        )

    # Stop -------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Have others lead, answer what is parked, make everything durable, leave the clean-shutdown marker and the cluster.

        A part that fails to stop is logged and does not keep the next one from stopping: the logs come last but one.
        """
        await self.loss_reports.stop()
        await self.cluster.hand_over(HAND_OVER_SECONDS_MAX)
        self.server.stop_accepting()
        draining = asyncio.ensure_future(self.server.stop(deadline_seconds=DRAIN_SECONDS_MAX))
        await asyncio.sleep(0)
        self.partitions.release_long_polls()
        parts: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
            ("sampler", self.sampler.stop),
            ("transactions", self.transactions.stop),
            ("groups", self.groups.stop),
            ("isr proposals", self.isr_proposals.stop),
            ("replication", self.replication.stop),
            ("peers", self.peers.close),
            ("server", lambda: draining),
            ("pipeline", self.pipeline.stop),
            ("recompressor", self.recompressor.stop),
            ("partitions", self.partitions.stop),
            ("cluster", self.cluster.stop),
        )
        for name, stop in parts:
            try:
                await stop()
            except Exception:
                logger.exception("the %s did not stop in order", name)


def _possible_connections(wanted: int) -> int:
    """No more than the system gives file descriptors for: who is turned away is told so, who cannot be accepted is not."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return wanted
    possible = max(allowed - OPEN_FILES_RESERVED, allowed // 2)
    if possible < wanted:
        logger.warning("max.connections is %d, but the system allows %d open files: %d", wanted, allowed, possible)
    return min(wanted, possible)


def _overrides(text: str) -> dict[str, int]:
    """``host:limit,host:limit``; an entry that makes no sense is left out with a warning."""
    limits: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        host, _, limit = item.rpartition(":")
        if host and limit.isdecimal():
            limits[host.strip("[]")] = int(limit)
        else:
            logger.warning("max.connections.per.ip.overrides: %r is not host:limit", item)
    return limits


def _bind_all(config: BrokerConfig, machine: Machine) -> tuple[socket.socket, socket.socket]:
    client = _bind_or_explain(machine, config.host, config.port, "client", "OTTLA_KAFKA (HOST:PORT of broker 1)")
    try:
        return client, _bind_or_explain(
            machine,
            config.internal_host,
            config.internal_port,
            "internal",
            "OTTLA_KAFKA (10000 below) or OTTLA_LISTENERS",
        )
    except BaseException:
        client.close()
        raise


def _bind_or_explain(machine: Machine, host: str, port: int, listener: str, option: str) -> socket.socket:
    try:
        return machine.bind(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotStart(
            f"port {port} on {host} for the {listener} listener: {reason}. Change it with {option}."
        ) from error
