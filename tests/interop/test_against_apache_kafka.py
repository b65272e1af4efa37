"""A thousand requests that clients and administrators send, right ones and wrong ones, answered by this broker and by Apache Kafka:
field by field the same, but for the deviations listed here. Each of those is told in its handler's docstring, and must occur."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench.apache.server import ApacheKafka
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.interop import stories_of_administrators, stories_of_clients
from tests.interop.apache import require_apache_kafka
from tests.interop.comparison import Speaker, Story, differences
from tests.support.broker_process import BrokerProcess

_ELR = r".*\[min.insync.replicas\].config_source"

DEVIATIONS: dict[Story, dict[str, str]] = {
    stories_of_clients.transactions: {
        r".*log_start_offset": "an error does not tell the log start",
    },
    stories_of_clients.producing: {
        r".*log_start_offset": "an error does not tell the log start",
    },
    stories_of_clients.fetching: {},
    stories_of_administrators.groups: {},
    stories_of_administrators.creating: {_ELR: "Kafka 4.3 keeps it for the cluster with eligible leader replicas"},
    stories_of_administrators.configuring: {_ELR: "Kafka 4.3 keeps it for the cluster with eligible leader replicas"},
}
"""By story, what may differ (``step: field``, as a pattern) and why."""


@pytest.fixture(scope="module")
def kafka() -> Iterator[ApacheKafka]:
    require_apache_kafka()
    with ApacheKafka() as process:
        create_coordinators(process.port)
        yield process


@pytest.fixture(scope="module")
def ottla(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One nobody else has created a topic on."""
    with BrokerProcess(tmp_path_factory.mktemp("compared"), OTTLA_ACK_DURABILITY="os") as process:
        create_coordinators(process.port)
        yield process


def create_coordinators(port: int) -> None:
    """Before a story changes what topics are created with: the internal ones would be created with it, too."""
    with Speaker(port) as speaker:
        for key_type in (0, 1):
            request = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=["anybody"])
            speaker.ask("find coordinator", ApiKey.FIND_COORDINATOR, 4, request)


@pytest.mark.parametrize("story", DEVIATIONS, ids=lambda story: story.__name__)
def test_answers_are_those_of_apache_kafka(kafka: ApacheKafka, ottla: BrokerProcess, story: Story) -> None:
    found = differences(story, ottla.port, kafka.port)
    intended = DEVIATIONS[story]
    unexplained = {
        step: values for step, values in found.items() if not any(re.fullmatch(pattern, step) for pattern in intended)
    }
    assert unexplained == {}
    for pattern, reason in intended.items():
        assert any(re.fullmatch(pattern, step) for step in found), f"no deviation any more: {reason}"
