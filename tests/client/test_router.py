"""Where calls go and which of them are repeated."""

import asyncio
from typing import Any

import pytest

from broker.client.asynchronous import AsyncClient
from broker.client.errors import BrokerUnreachableError, ClientConnectionError, ClientTimeoutError
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.client.fake_broker import FakeBroker, Raw
from tests.support.wait import eventually


def client_of(broker: FakeBroker, *, first: str = "") -> AsyncClient:
    bootstrap = [address for address in (first, broker.bootstrap) if address]
    return AsyncClient(bootstrap, request_timeout_seconds=2.0, connect_timeout_seconds=1.0)


def offsets_answer(offset: int, *, error_code: int = 0) -> Any:
    def answer(version: int, request: Any) -> Any:
        topic_type = m.ListOffsetsResponse.ListOffsetsTopicResponse
        partition_type = m.ListOffsetsResponse.ListOffsetsPartitionResponse
        return m.ListOffsetsResponse(
            topics=[
                topic_type(
                    name=topic.name,
                    partitions=[
                        partition_type(
                            partition_index=p.partition_index, error_code=error_code, offset=offset, timestamp=-1
                        )
                        for p in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )

    return answer


async def test_metadata_comes_as_values() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        found = await client.metadata()
        assert found.cluster.cluster_id == "fake"
        assert [(b.id, b.port) for b in found.cluster.brokers] == [(1, broker.port)]
        (topic,) = found.topics
        assert (topic.name, len(topic.partitions), topic.partitions[1].leader) == ("orders", 2, 1)
        assert topic.topic_id == "AQEBAQEBAQEBAQEBAQEBAQ"


async def test_asking_for_no_topics_is_not_asking_for_all() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        assert (await client.metadata([])).topics == ()


async def test_the_next_bootstrap_address_is_tried_when_the_first_does_not_answer() -> None:
    async with FakeBroker() as dead:
        unused = dead.bootstrap
    async with FakeBroker() as broker, client_of(broker, first=unused) as client:
        assert (await client.describe_cluster()).controller_id == 1


async def test_nobody_reachable_fails_at_once() -> None:
    async with FakeBroker() as dead:
        unused = dead.bootstrap
    async with AsyncClient(unused) as client:
        with pytest.raises(ClientConnectionError, match="cannot connect"):
            await client.describe_cluster()


async def test_a_topic_that_does_not_exist_is_an_error_of_the_call() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        with pytest.raises(KafkaError, match="nothing") as failure:
            await client.topics.list_offsets("nothing", {0: -1})
        assert failure.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_partition_that_does_not_exist_is_an_error_of_the_call() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        with pytest.raises(KafkaError, match="orders has no partition 9"):
            await client.topics.list_offsets("orders", {9: -1})


async def test_leaders_are_looked_up_once() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.LIST_OFFSETS] = offsets_answer(7)
        for _ in range(3):
            assert (await client.topics.list_offsets("orders", {0: -1, 1: -2}))[1].offset == 7
        assert broker.count(ApiKey.METADATA) == 1


async def test_a_broker_that_does_not_lead_any_more_makes_the_client_look_again() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        answers = iter([offsets_answer(0, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER), offsets_answer(7)])
        broker.answers[ApiKey.LIST_OFFSETS] = lambda version, request: next(answers)(version, request)
        assert (await client.topics.list_offsets("orders", {0: -1}))[0].offset == 7
        assert broker.count(ApiKey.METADATA) == 2


async def test_a_partition_without_a_leader_is_waited_for() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.LIST_OFFSETS] = offsets_answer(7)
        broker.leader_id = -1

        async def elect() -> None:
            await eventually(lambda: broker.count(ApiKey.METADATA) >= 2)
            broker.leader_id = 1

        electing = asyncio.create_task(elect())
        assert (await client.topics.list_offsets("orders", {0: -1}))[0].offset == 7
        await electing


def naming(broker: FakeBroker, *, controller: int, leader: int, dead: str) -> Any:
    """Metadata of a cluster of which broker 2 does not live any more, at ``dead``."""
    host, _, port = dead.rpartition(":")

    def answer(version: int, request: Any) -> Any:
        broker.leader_id = leader
        found = broker._metadata(version, request)
        gone = m.MetadataResponse.MetadataResponseBroker(node_id=2, host=host, port=int(port))
        found.brokers.append(gone)
        found.controller_id = controller
        return found

    return answer


def created(version: int, request: Any) -> Any:
    result = m.CreateTopicsResponse.CreatableTopicResult
    return m.CreateTopicsResponse(topics=[result(name=topic.name, error_code=0) for topic in request.topics])


async def test_a_change_goes_to_another_broker_when_the_one_named_as_controller_is_dead() -> None:
    async with FakeBroker() as other:
        dead = other.bootstrap
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.METADATA] = naming(broker, controller=2, leader=1, dead=dead)
        broker.answers[ApiKey.CREATE_TOPICS] = created
        await client.topics.create("new", 1)
        assert broker.count(ApiKey.CREATE_TOPICS) == 1
        asked = broker.count(ApiKey.METADATA)
        await client.topics.create("newer", 1)
        assert broker.count(ApiKey.METADATA) - asked <= 1


async def test_a_partition_whose_named_leader_is_dead_is_waited_for() -> None:
    async with FakeBroker() as other:
        dead = other.bootstrap
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.LIST_OFFSETS] = offsets_answer(7)
        broker.answers[ApiKey.METADATA] = naming(broker, controller=1, leader=2, dead=dead)

        async def elect() -> None:
            await eventually(lambda: broker.count(ApiKey.METADATA) >= 2)
            broker.answers[ApiKey.METADATA] = naming(broker, controller=1, leader=1, dead=dead)

        electing = asyncio.create_task(elect())
        assert (await client.topics.list_offsets("orders", {0: -1}))[0].offset == 7
        await electing


async def test_a_leader_that_stays_dead_is_waited_for_as_long_as_one_request_may_take() -> None:
    async with FakeBroker() as other:
        dead = other.bootstrap
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap, request_timeout_seconds=0.3) as client:
        broker.answers[ApiKey.METADATA] = naming(broker, controller=1, leader=2, dead=dead)
        with pytest.raises(BrokerUnreachableError, match="cannot connect"):
            await client.topics.list_offsets("orders", {0: -1})
        assert broker.count(ApiKey.METADATA) >= 2


async def test_an_error_that_is_not_about_routing_is_not_repeated() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.LIST_OFFSETS] = offsets_answer(0, error_code=ErrorCode.KAFKA_STORAGE_ERROR)
        with pytest.raises(KafkaError) as failure:
            await client.topics.list_offsets("orders", {0: -1})
        assert failure.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        assert broker.count(ApiKey.LIST_OFFSETS) == 1


async def test_an_unknown_error_code_keeps_its_number() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        broker.answers[ApiKey.LIST_OFFSETS] = offsets_answer(0, error_code=9_999)
        with pytest.raises(KafkaError, match="9999") as failure:
            await client.topics.list_offsets("orders", {0: -1})
        assert failure.value.code is ErrorCode.UNKNOWN_SERVER_ERROR


async def test_a_lost_connection_is_opened_again_by_the_next_call() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        await client.describe_cluster()
        broker.drop_connections()
        assert (await client.describe_cluster()).cluster_id == "fake"
        assert broker.connections_total == 2


async def test_a_change_whose_answer_was_lost_is_not_made_twice() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        await client.describe_cluster()
        broker.answers[ApiKey.CREATE_TOPICS] = lambda version, request: Raw(close=True)
        with pytest.raises(ClientConnectionError) as failure:
            await client.topics.create("new", 1)
        assert failure.value.maybe_sent
        assert broker.count(ApiKey.CREATE_TOPICS) == 1


async def test_a_question_whose_answer_was_lost_is_asked_again() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        await client.describe_cluster()
        answers = iter([lambda version, request: Raw(close=True), offsets_answer(7)])
        broker.answers[ApiKey.LIST_OFFSETS] = lambda version, request: next(answers)(version, request)
        assert (await client.topics.list_offsets("orders", {0: -1}))[0].offset == 7


async def test_a_short_call_does_not_queue_behind_a_long_poll() -> None:
    async with FakeBroker() as broker, client_of(broker) as client:
        await client.describe_cluster()
        broker.answers[ApiKey.FETCH] = lambda version, request: None
        waiting = asyncio.create_task(client.reader.fetch("orders", 0, 0, max_wait_ms=60_000))
        await eventually(lambda: broker.count(ApiKey.FETCH))
        async with asyncio.timeout(2):
            await client.describe_cluster()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_silent_broker_costs_one_deadline_and_not_several() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap, request_timeout_seconds=0.1) as client:
        await client.describe_cluster()
        broker.answers[ApiKey.METADATA] = lambda version, request: None
        with pytest.raises(ClientTimeoutError):
            await client.describe_cluster()
        assert broker.count(ApiKey.METADATA) == 2


@pytest.mark.parametrize("bootstrap", ["", "localhost", "host:0", "host:70000", ":9092", "host:port", " , "])
def test_a_bootstrap_that_is_no_address_is_refused(bootstrap: str) -> None:
    with pytest.raises(ValueError, match="address"):
        AsyncClient(bootstrap)
