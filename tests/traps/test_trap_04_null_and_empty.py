"""Trap 4: null and empty mean different things, and not the same different things everywhere."""

from __future__ import annotations

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import batch, create_topic, fetch, produce
from tests.support.wire import Wire


def names(wire: Wire, version: int, topics) -> list[str]:
    return [topic.name for topic in wire.call(ApiKey.METADATA, version, m.MetadataRequest(topics=topics)).topics]


def test_metadata_0_has_no_null_and_an_empty_list_means_all(wire: Wire) -> None:
    topic = create_topic(wire)
    assert topic in names(wire, 0, [])


@pytest.mark.parametrize("version", [1, 8, 9, 13])
def test_metadata_from_1_on_says_null_for_all_and_empty_for_none(wire: Wire, version: int) -> None:
    topic = create_topic(wire)
    assert topic in names(wire, version, None)
    assert names(wire, version, []) == []


@pytest.mark.parametrize("version", [1, 4])
@pytest.mark.parametrize("keys", [None, []], ids=["null", "empty"])
def test_describe_configs_without_keys_means_all_of_them_however_that_is_said(wire: Wire, version: int, keys) -> None:
    r = m.DescribeConfigsRequest
    resource = r.DescribeConfigsResource(resource_type=2, resource_name=create_topic(wire), configuration_keys=keys)
    (result,) = wire.call(ApiKey.DESCRIBE_CONFIGS, version, r(resources=[resource])).results
    assert len(result.configs) > 30


@pytest.mark.parametrize("version", [4, 11, 12])
def test_aborted_transactions_are_null_for_read_uncommitted_and_a_list_for_read_committed(wire, version) -> None:
    topic = create_topic(wire)
    produce(wire, topic, batch(b"x"))
    assert fetch(wire, topic, version=version, isolation_level=0).aborted_transactions is None
    assert fetch(wire, topic, version=version, isolation_level=1).aborted_transactions == []


def test_a_fetch_that_found_nothing_has_empty_records_and_no_null_array(wire: Wire) -> None:
    """librdkafka takes a count of -1 for a broken answer where null is not allowed."""
    assert fetch(wire, create_topic(wire), version=11).records == b""
