"""Which metadata store a config means, and what people are told that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.clock import SystemClock
from broker.cluster.store_choice import metadata_store, store_kind
from broker.config.broker import BrokerConfig
from broker.metadata.sqlite import SqliteStore
from broker.metadata.zookeeper import ZookeeperStore


@pytest.mark.parametrize(
    ("metadata", "kind", "store"),
    [("", "sqlite", SqliteStore), ("zookeeper://zk1:2181,zk2:2181/ottla", "zookeeper", ZookeeperStore)],
)
def test_the_store_is_the_one_that_people_are_told(tmp_path: Path, metadata: str, kind: str, store: type) -> None:
    environment = {"OTTLA_HOME": str(tmp_path), "OTTLA_METADATA": metadata}
    config = BrokerConfig.from_environment({name: value for name, value in environment.items() if value})
    assert store_kind(config) == kind
    assert isinstance(metadata_store(config, SystemClock()), store)
