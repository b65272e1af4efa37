"""``manage.py metadata``: what is saved comes back, into the same kind of store or the other, and goes on beyond it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.protocol.api import ApiKey
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, leader_epoch_of, produce_request, topic_id_of
from tests.support.wire import Wire
from tests.support.zookeeper import ZookeeperProcess

RECORDS = 5


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, str, bytes, int]:
    """A home with a topic and records, stopped; its backup, made while it ran; the topic, its id, its leader epoch."""
    home, file = tmp_path / "home", tmp_path / "metadata.json"
    monkeypatch.setenv("OTTLA_HOME", str(home))
    monkeypatch.delenv("OTTLA_METADATA", raising=False)
    with BrokerProcess(home) as broker:
        with Wire(broker.port) as wire:
            topic = create_topic(wire, retention_ms="123456")
            for _ in range(RECORDS):
                produce(wire, topic)
            known = topic_id_of(wire, topic), leader_epoch_of(wire, topic)
        Cli()("metadata", "backup", file)
    return home, file, topic, *known


def produce(wire: Wire, topic: str) -> int:
    """The offset."""
    answer = wire.call(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"x")}))
    found = answer.responses[0].partition_responses[0]
    assert found.error_code == 0
    return found.base_offset


def goes_on(broker: BrokerProcess, topic: str, topic_id: bytes, leader_epoch: int) -> None:
    with Wire(broker.port) as wire:
        assert topic_id_of(wire, topic) == topic_id
        assert leader_epoch_of(wire, topic) > leader_epoch + 1_000, "no epoch is given out twice"
        assert produce(wire, topic) == RECORDS


def test_a_lost_file_is_restored(saved: tuple[Path, Path, str, bytes, int]) -> None:
    home, file, topic, topic_id, leader_epoch = saved
    for lost in home.glob("metadata.sqlite3*"):
        lost.unlink()
    assert "1 topics" in Cli()("metadata", "restore", file)
    with BrokerProcess(home) as broker:
        goes_on(broker, topic, topic_id, leader_epoch)
        assert "123456" in Cli(broker.bootstrap)("configs", "describe", "--topic", topic)


def test_it_moves_from_a_file_to_zookeeper(
    saved: tuple[Path, Path, str, bytes, int], zookeeper: ZookeeperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file, topic, topic_id, leader_epoch = saved
    url = zookeeper.url()
    monkeypatch.setenv("OTTLA_METADATA", url)
    Cli()("metadata", "restore", file)
    with BrokerProcess(home, OTTLA_METADATA=url) as broker:
        goes_on(broker, topic, topic_id, leader_epoch)


def test_a_store_that_is_not_empty_is_left_alone(saved: tuple[Path, Path, str, bytes, int]) -> None:
    assert "not empty" in str(Cli().failure("metadata", "restore", saved[1]))


def test_who_is_alive_is_not_saved(saved: tuple[Path, Path, str, bytes, int]) -> None:
    entries = json.loads(saved[1].read_text())["entries"]
    assert {"cluster", "controller_epoch"} <= entries.keys()
    assert not [key for key in entries if key == "controller" or key.startswith(("brokers/", "stopping/"))]
    assert saved[1].stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace('"format": 1', '"format": 2'), "newer version"),
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "damaged"),
        (lambda text: text[:100], "no backup"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(saved: tuple[Path, Path, str, bytes, int], change, told: str) -> None:
    home, file, *_ = saved
    for lost in home.glob("metadata.sqlite3*"):
        lost.unlink()
    file.write_text(change(file.read_text()))
    assert told in str(Cli().failure("metadata", "restore", file))


def test_an_empty_store_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_HOME", str(tmp_path))
    assert "no cluster's metadata" in str(Cli().failure("metadata", "backup", tmp_path / "file"))
    monkeypatch.setenv("OTTLA_METADATA", "zk1:2181")
    failure = Cli().failure("metadata", "backup", tmp_path / "file")
    assert failure.returncode == 2
    assert "OTTLA_METADATA" in str(failure)
    assert not (tmp_path / "file").exists()
