"""A connection to the session's broker for every test, a broker that has been started four times, and a pair of brokers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, leader_epoch_of, produce
from tests.support.wire import Wire
from tests.traps.pair import pair_of_brokers


@pytest.fixture
def wire(broker_process: BrokerProcess) -> Iterator[Wire]:
    with Wire(broker_process.port) as connection:
        yield connection


@pytest.fixture(scope="session")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, str, list[int]]]:
    """A broker in its fourth life, a topic with a record from all but the third, and the epoch metadata told in those three."""
    epochs = []
    with BrokerProcess(tmp_path_factory.mktemp("epochs"), OTTLA_ACK_DURABILITY="os") as broker:
        with Wire(broker.port) as wire:
            topic = create_topic(wire)
        for life in range(3):
            if life == 1:
                broker.kill()
                broker.start()
            elif life == 2:
                for _ in range(2):  # nothing is written in the life between: its epoch is in no log
                    broker.stop()
                    broker.start()
            with Wire(broker.port) as wire:
                epochs.append(leader_epoch_of(wire, topic))
                produce(wire, topic, batch(b"%d" % life))
        yield broker, topic, epochs


@pytest.fixture(scope="package")
def two_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    """Two brokers that stay, and end transactions in time."""
    overdue = {"OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "100"}
    with pair_of_brokers(tmp_path_factory.mktemp("two"), **overdue) as pair:
        yield pair
