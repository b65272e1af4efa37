from __future__ import annotations

import pytest

from broker.config.broker import BrokerConfig
from broker.config.metadata_address import InvalidMetadataAddress, parse_metadata_address
from broker.errors import KafkaError


@pytest.mark.parametrize(
    ("text", "servers", "chroot"),
    [
        ("zookeeper://zk1:2181,zk2:2182/ottla", (("zk1", 2181), ("zk2", 2182)), "/ottla"),
        ("zookeeper://zk1", (("zk1", 2181),), "/ottla"),
        ("zookeeper://zk1/", (("zk1", 2181),), "/ottla"),
        ("zookeeper://10.0.0.1:1/a/b.c_d-e/", (("10.0.0.1", 1),), "/a/b.c_d-e"),
        ("zookeeper://[::1]:2181,[fe80::2]/x", (("::1", 2181), ("fe80::2", 2181)), "/x"),
    ],
)
def test_an_address_names_servers_and_a_path(text: str, servers: tuple[tuple[str, int], ...], chroot: str) -> None:
    address = parse_metadata_address(text)
    assert address.servers == servers
    assert address.chroot == chroot


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zk1:2181", "Must be empty"),
        ("etcd://zk1:2181/ottla", "Must be empty"),
        ("zookeeper://", "HOST:PORT"),
        ("zookeeper:///ottla", "HOST:PORT"),
        ("zookeeper://zk1,,zk2/ottla", "HOST:PORT"),
        ("zookeeper://zk 1/ottla", "HOST:PORT"),
        ("zookeeper://zk1:2181:2182/ottla", "HOST:PORT"),
        ("zookeeper://zk1:0/ottla", "ports from 1 to 65535"),
        ("zookeeper://zk1:70000/ottla", "ports from 1 to 65535"),
        ("zookeeper://zk1:2181,zk1/ottla", "each server once"),
        ("zookeeper://user:secret@zk1/ottla", "user or a password"),
        ("zookeeper://zk1/ottla//x", "a path like"),
        ("zookeeper://zk1/ottla?x=y", "a path like"),
        ("zookeeper://zk1/../x", "a path like"),
        ("zookeeper://zk1/zookeeper/quota", "a path like"),
        ("zookeeper://" + ",".join(f"zk{i}" for i in range(17)), "at most 16"),
    ],
)
def test_what_is_malformed_is_refused_with_a_sentence(text: str, told: str) -> None:
    with pytest.raises(InvalidMetadataAddress, match=told):
        parse_metadata_address(text)
    with pytest.raises(KafkaError, match="OTTLA_METADATA"):
        BrokerConfig.from_environment({"OTTLA_METADATA": text})


@pytest.mark.parametrize("environment", [{}, {"OTTLA_METADATA": ""}])
def test_without_an_address_the_metadata_is_a_file(environment: dict[str, str]) -> None:
    assert not BrokerConfig.from_environment(environment).metadata
