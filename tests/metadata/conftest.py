from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.zookeeper import ZookeeperProcess


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZookeeperProcess]:
    """One server for all: a test takes a chroot of its own and leaves the server as it is."""
    with ZookeeperProcess(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server
