"""Groups of KIP-848, which DescribeGroups does not know: described by the API made for them, where there is one."""

from __future__ import annotations

from typing import Any

import pytest

from broker.client.asynchronous import AsyncClient
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition
from tests.client.fake_broker import FakeBroker


def describe_groups(version: int, request: Any) -> Any:
    (group_id,) = request.groups
    return m.DescribeGroupsResponse(
        groups=[
            m.DescribeGroupsResponse.DescribedGroup(
                group_id=group_id,
                error_code=ErrorCode.GROUP_ID_NOT_FOUND,
                error_message="not a classic group",
                group_state="Dead",
                members=[],
            )
        ]
    )


def describe_modern(version: int, request: Any) -> Any:
    response = m.ConsumerGroupDescribeResponse
    (group_id,) = request.group_ids
    if group_id == "nobody":
        group = response.DescribedGroup(
            error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message="no such group", group_id=group_id, members=[]
        )
        return response(groups=[group])
    assignment = response.Assignment(
        topic_partitions=[
            response.TopicPartitions(topic_id=bytes([1] * 16), topic_name="orders", partitions=[1, 0]),
        ]
    )
    member = response.Member(
        member_id="m-1",
        instance_id="static-1",
        client_id="reader",
        client_host="/10.0.0.1",
        member_epoch=3,
        subscribed_topic_names=["orders"],
        subscribed_topic_regex="cl.*",
        rack_id="r1",
        assignment=assignment,
        target_assignment=response.Assignment(topic_partitions=[]),
        member_type=1,
    )
    return response(
        groups=[
            response.DescribedGroup(
                error_code=0,
                group_id=group_id,
                group_state="Stable",
                group_epoch=4,
                assignment_epoch=3,
                assignor_name="uniform",
                members=[member],
            )
        ]
    )


def make_broker(*, knows_modern: bool) -> FakeBroker:
    broker = FakeBroker()
    broker.answers |= {
        ApiKey.FIND_COORDINATOR: lambda version, request: m.FindCoordinatorResponse(
            error_code=0, node_id=1, host="127.0.0.1", port=broker.port
        ),
        ApiKey.DESCRIBE_GROUPS: describe_groups,
        ApiKey.CONSUMER_GROUP_DESCRIBE: describe_modern,
    }
    broker.ranges.pop(ApiKey.CONSUMER_GROUP_DESCRIBE, None)
    if knows_modern:
        broker.ranges[ApiKey.CONSUMER_GROUP_DESCRIBE] = (0, 1)
    return broker


async def test_a_modern_group_is_described_with_its_members() -> None:
    async with make_broker(knows_modern=True) as broker, AsyncClient(broker.bootstrap) as client:
        group = await client.groups.describe_one("readers")
        assert (group.state, group.protocol_type, group.protocol) == ("Stable", "consumer", "uniform")
        assert (group.type, group.epoch, group.assignment_epoch) == ("consumer", 4, 3)
        (member,) = group.members
        assert (member.member_id, member.instance_id, member.client_id) == ("m-1", "static-1", "reader")
        assert member.assignment == (TopicPartition("orders", 0), TopicPartition("orders", 1))
        assert (member.target, member.topics, member.topic_regex) == ((), ("orders",), "cl.*")
        assert (member.protocol, member.epoch, member.rack) == ("consumer", 3, "r1")


@pytest.mark.parametrize(("knows_modern", "group_id"), [(True, "nobody"), (False, "readers")])
async def test_a_group_of_neither_kind_does_not_exist(knows_modern: bool, group_id: str) -> None:
    async with make_broker(knows_modern=knows_modern) as broker, AsyncClient(broker.bootstrap) as client:
        with pytest.raises(KafkaError) as failure:
            await client.groups.describe_one(group_id)
        assert failure.value.code is ErrorCode.GROUP_ID_NOT_FOUND
        assert bool(broker.count(ApiKey.CONSUMER_GROUP_DESCRIBE)) is knows_modern
