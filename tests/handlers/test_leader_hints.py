"""A client at the wrong broker is told the right one, if there is one (KIP-951)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from broker.cluster.image import BrokerImage
from broker.errors import ErrorCode
from broker.handlers import fetch, produce
from broker.handlers.context import ConnectionInfo, Request
from broker.protocol import codec
from broker.protocol.header import skip_response_header
from broker.quotas.driver import Quotas
from tests.partition.stage import Stage, image_of, partition_image, topic_image
from tests.support.topics import batch, fetch_request, produce_request

OTHER = BrokerImage(
    id=2, host="two", port=9093, internal_host="inside", internal_port=19093, rack="r", incarnation="now"
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    yield stage
    await stage.close()


def show(stage: Stage, *, alive: bool) -> None:
    """Partition 0 is led by broker 2 in epoch 4, partition 1 by us."""
    topic = topic_image("orders", partition_image(leader=2, epoch=4, replicas=(2,)), partition_image())
    image = image_of(topic)
    stage.show(replace(image, brokers=image.brokers | {2: OTHER}) if alive else image)


def call(stage: Stage, module: ModuleType, version: int, message: Any, listener: str = "client") -> Any:
    services: Any = SimpleNamespace(
        partitions=stage.manager,
        config=stage.config,
        clock=stage.clock,
        cluster=stage,
        node_id=1,
        quotas=Quotas(stage.clock),
    )
    services.fetch_sessions = SimpleNamespace(get=lambda _: None)
    body = memoryview(bytearray(codec.encode_request(module.API, version, message)))
    request = Request(module.API, version, 1, None, body, ConnectionInfo(1, "h", 1, listener))
    answer = module.handle_raw(request, services)
    frame = (answer if isinstance(answer, bytes) else b"".join(answer))[4:]
    _, at = skip_response_header(module.API, version, frame)
    return codec.decode_response(module.API, version, frame[at:])


def produced(stage: Stage, version: int, **options: Any) -> tuple[Any, list[Any]]:
    topic: Any = b"\x01" * 16 if version >= 13 else "orders"
    message = produce_request({(topic, 0): batch(b"a")}, acks=1)
    answer = call(stage, produce, version, message, **options)
    part = answer.responses[0].partition_responses[0]
    assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    return part.current_leader, answer.node_endpoints


def fetched(stage: Stage, version: int, **options: Any) -> tuple[Any, list[Any]]:
    topic: Any = b"\x01" * 16 if version >= 13 else "orders"
    answer = call(stage, fetch, version, fetch_request(topic), **options)
    part = answer.responses[0].partitions[0]
    assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    return part.current_leader, answer.node_endpoints


def plain(hint: tuple[Any, list[Any]]) -> tuple[tuple[int, int], list[tuple[int, str, int, str | None]]]:
    leader, endpoints = hint
    told = (leader.leader_id, leader.leader_epoch) if leader is not None else (-1, -1)
    return told, [(node.node_id, node.host, node.port, node.rack) for node in endpoints]


@pytest.mark.parametrize(("answer", "version"), [(produced, 10), (produced, 13), (fetched, 16), (fetched, 18)])
async def test_the_leader_and_its_address_on_the_clients_listener_are_told(stage, answer, version) -> None:
    show(stage, alive=True)
    assert plain(answer(stage, version)) == ((2, 4), [(2, "two", 9093, "r")])
    assert plain(answer(stage, version, listener="internal"))[1] == [(2, "inside", 19093, "r")]


@pytest.mark.parametrize(("answer", "version"), [(produced, 10), (fetched, 16)])
async def test_a_leader_that_is_not_alive_is_not_told(stage, answer, version) -> None:
    show(stage, alive=False)
    assert plain(answer(stage, version)) == ((-1, -1), [])


@pytest.mark.parametrize(("answer", "version"), [(produced, 9), (fetched, 15)])
async def test_older_versions_are_told_nothing(stage, answer, version) -> None:
    show(stage, alive=True)
    leader, endpoints = answer(stage, version)
    assert plain((leader, endpoints)) == ((-1, -1), [])


async def test_a_fenced_epoch_is_told_the_newer_one(stage) -> None:
    stage.show(image_of(topic_image("orders", partition_image(epoch=3))))
    answer = call(stage, fetch, 16, fetch_request(b"\x01" * 16, current_leader_epoch=2))
    part = answer.responses[0].partitions[0]
    assert part.error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (1, 3)
    assert [node.node_id for node in answer.node_endpoints] == [1]
