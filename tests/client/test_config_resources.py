"""Configs of groups, client-metrics subscriptions and loggers through the blocking client and a real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.client.blocking import Client, ResourceType
from broker.errors import ErrorCode, KafkaError
from tests.support.broker_process import BrokerProcess


@pytest.fixture(scope="module")
def client(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(broker_process.bootstrap) as client:
        yield client


def test_a_groups_configs_are_set_listed_and_given_back(client: Client) -> None:
    client.alter_group_configs("configured", {"consumer.session.timeout.ms": "50000"})
    entries = {entry.name: entry for entry in client.describe_group_configs("configured")}
    session = entries["consumer.session.timeout.ms"]
    assert (session.value, session.source, session.is_default) == ("50000", "DYNAMIC_GROUP_CONFIG", False)
    assert "configured" in client.list_config_resources(ResourceType.GROUP)
    with pytest.raises(KafkaError) as refused:
        client.alter_group_configs("configured", {"consumer.session.timeout.ms": "1"})
    assert refused.value.code is ErrorCode.INVALID_CONFIG
    client.alter_group_configs("configured", {"consumer.session.timeout.ms": None})
    assert "configured" not in client.list_config_resources(ResourceType.GROUP)


def test_a_subscription_lives_as_long_as_it_has_a_config(client: Client) -> None:
    client.alter_client_metrics("everything", {"metrics": "*", "interval.ms": "1000"})
    entries = {entry.name: entry.value for entry in client.describe_client_metrics("everything")}
    assert entries == {"metrics": "*", "interval.ms": "1000", "match": ""}
    assert "everything" in client.list_config_resources(ResourceType.CLIENT_METRICS)
    client.alter_client_metrics("everything", {"metrics": None, "interval.ms": None})
    assert "everything" not in client.list_config_resources(ResourceType.CLIENT_METRICS)


def test_log_levels_change_while_the_broker_runs(client: Client) -> None:
    client.alter_loggers(1, {"broker.network.server": "DEBUG"})
    levels = {entry.name: entry.value for entry in client.describe_loggers(1)}
    assert (levels["broker.network.server"], levels["root"]) == ("DEBUG", "INFO")
    client.alter_loggers(1, {"broker.network.server": None})
    assert {e.name: e.value for e in client.describe_loggers(1)}["broker.network.server"] == "INFO"
