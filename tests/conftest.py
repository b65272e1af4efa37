"""Fixtures for every test: a real broker process, started by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.broker_process import BrokerProcess
from tests.support.cluster_process import ClusterProcess
from tests.support.sharing_out import SharingOut, begin_with
from tests.support.zookeeper import ZookeeperProcess

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("ottla", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ottla")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: begin_with(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharingOut:
    return SharingOut(config, log)


@pytest.fixture(scope="session")
def broker_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for the whole session. A test that stops, kills or fills it takes a ``BrokerProcess`` of its own."""
    with BrokerProcess(tmp_path_factory.mktemp("broker")) as process:
        yield process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    """Three brokers of the test's own: it may kill them. For others or more, ``with ClusterProcess(tmp_path, ...)``."""
    with ClusterProcess(tmp_path) as processes:
        yield processes


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZookeeperProcess]:
    """One ZooKeeper for all: a test takes a chroot of its own and leaves the server as it is."""
    with ZookeeperProcess(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server
