"""One broker process for all interop tests of a session; topics are the unit of isolation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker_process import BrokerProcess

_numbers = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("broker")) as process:
        yield process


@pytest.fixture
def topic_name() -> Callable[[], str]:
    """A name no other test uses."""
    return lambda: f"topic-{next(_numbers)}"


@pytest.fixture
def new_topic(broker, topic_name) -> Callable[..., str]:
    """Create a topic of the session's broker and return its name."""

    def create(partitions: int = 1, **config: str) -> str:
        name = topic_name()
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(timeout=30)
        return name

    return create
