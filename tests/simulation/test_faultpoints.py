"""The switches themselves: off unless named, loud when on."""

from __future__ import annotations

from unittest import mock

import pytest

from broker import faultpoints
from broker.config.topic import TopicConfig
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition
from tests.simulation.run import Simulation

STRAY = TopicPartition("orders", 0)


def test_names_are_separated_by_commas_and_all_off_without_any() -> None:
    assert faultpoints.parse("") == frozenset()
    assert faultpoints.parse("skip_fsync, delete_stray") == {"skip_fsync", "delete_stray"}
    assert faultpoints.parse(",".join(faultpoints.NAMES)) == faultpoints.NAMES


def test_a_name_that_there_is_not_stops_the_process() -> None:
    with pytest.raises(ValueError, match="skip_fsnyc"):
        faultpoints.parse("skip_fsnyc")


def test_every_name_is_a_switch() -> None:
    assert {name.lower() for name, value in vars(faultpoints).items() if isinstance(value, bool)} == faultpoints.NAMES


def test_a_broker_that_has_one_on_says_so() -> None:
    simulation = Simulation(1)
    with mock.patch.object(faultpoints, "ENABLED", frozenset({"skip_fsync"})):
        simulation.run_briefly()
    assert "LOSES DATA ON PURPOSE: ['skip_fsync']" in simulation.trace.text()


@pytest.mark.parametrize("deleted", [False, True])
def test_a_stray_directory_is_kept_unless_it_is_deleted_on_purpose(deleted: bool) -> None:
    filesystem = MemoryFileSystem()
    known = opened(filesystem, {})
    known.create_log(STRAY, b"t" * 16, TopicConfig())
    known.close(clean=True)
    with mock.patch.object(faultpoints, "DELETE_STRAY", deleted):
        opened(filesystem, {}).close(clean=True)
    kept = filesystem.status("/data/stray") is not None
    assert kept is not deleted
    assert filesystem.status("/data/orders-0") is None


def opened(filesystem: MemoryFileSystem, known: dict[TopicPartition, bytes]) -> LogDir:
    return LogDir.open(
        "/data",
        filesystem=filesystem,
        clock_wall_ms=lambda: 1_700_000_000_000,
        node_id=1,
        cluster_id="cluster",
        configs=lambda partition: TopicConfig(),
        known=known,
    )
