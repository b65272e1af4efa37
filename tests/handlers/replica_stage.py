"""A leader on a disk in memory and followers that fetch from it frame by frame, without a socket."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

from broker.cluster.image import BrokerImage
from broker.handlers import fetch as fetch_handler
from broker.handlers.context import ConnectionInfo, Request
from broker.handlers.reply import Deferred
from broker.partition.fetch_session_cache import FetchSessionCache
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.quotas.driver import Quotas
from broker.quotas.replication import ReplicationThrottle
from tests.partition.stage import Stage, image_of
from tests.support.wait import eventually
from tests.support.wire import skip_response_header

REPLICA_EPOCH = 100
VERSION = 17


def broker_image(broker_id: int, **fields) -> BrokerImage:
    values = {"host": "h", "port": broker_id, "internal_host": "h", "internal_port": 2, "rack": None}
    values |= {"incarnation": "now", "epoch": REPLICA_EPOCH + broker_id}
    return BrokerImage(id=broker_id, **(values | fields))


class LeaderStage(Stage):
    """Broker 1 of three."""

    def __init__(self, **environment: str) -> None:
        super().__init__(**{"OTTLA_ACK_DURABILITY": "os", **environment})
        ids = itertools.count(1)
        self.throttle = ReplicationThrottle()
        self.services = SimpleNamespace(
            node_id=1,
            config=self.config,
            clock=self.clock,
            cluster=self,
            partitions=self.manager,
            fetch_sessions=FetchSessionCache(slots=10, new_id=lambda: next(ids)),
            quotas=Quotas(self.clock),
            leader_throttle=self.throttle,
        )
        self.proposals: list[tuple[str, frozenset[int]]] = []
        self.manager.propose_isr_through(self)
        self.brokers = {broker_id: broker_image(broker_id) for broker_id in (1, 2, 3)}

    def propose(self, partition, proposal) -> None:
        self.proposals.append((partition.topic_partition.topic, proposal.isr))

    def show_topics(self, *topics, **fields) -> None:
        self.show(replace(image_of(*topics), brokers=self.brokers, **fields))

    def fetch(self, entries=(), *, replica: int = 2, listener: str = "internal", **fields):
        """The answer, or a ``Pending`` one. ``entries``: (topic id, fetch offset, further fields of the partition)."""
        r = m.FetchRequest
        version = fields.pop("version", VERSION)
        state = r.ReplicaState(replica_id=replica, replica_epoch=fields.pop("replica_epoch", REPLICA_EPOCH + replica))
        values = {"max_wait": 500, "min_bytes": 1, "max_bytes": 1 << 20, "session_epoch": -1, "replica_state": state}
        topics = [
            r.FetchTopic(
                topic_id=topic_id,
                partitions=[
                    r.FetchPartition(partition=0, fetch_offset=offset, **({"partition_max_bytes": 1 << 20} | options))
                ],
            )
            for topic_id, offset, options in entries
        ]
        body = codec.encode_request(ApiKey.FETCH, version, r(**(values | {"topics": topics} | fields)))
        connection = ConnectionInfo(1, "127.0.0.1", 1, listener, authenticated=True)
        reply = fetch_handler.handle_raw(
            Request(ApiKey.FETCH, version, 1, None, memoryview(body), connection), self.services
        )
        return Pending(reply, version) if isinstance(reply, Deferred) else decoded(reply, version)


class Pending:
    """A parked fetch."""

    def __init__(self, reply: Deferred, version: int) -> None:
        self.reply = reply
        self._version = version

    @property
    def answered(self) -> bool:
        return self.reply.done

    async def answer(self):
        await eventually(lambda: self.reply.done)
        return decoded(self.reply.answer, self._version)


def decoded(pieces, version: int):
    frame = b"".join(pieces)[4:]
    _, at = skip_response_header(ApiKey.FETCH, version, frame)
    return codec.decode_response(ApiKey.FETCH, version, memoryview(frame)[at:])


def only(answer):
    """The one partition of an answer."""
    [topic] = answer.responses
    [partition] = topic.partitions
    return partition
