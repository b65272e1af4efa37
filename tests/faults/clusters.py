"""The clusters under test: one broker or three, small internal topics, nothing verified but by the checker.

Durability is what is shipped: an acknowledgement means that enough replicas have it on disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.faults.nemeses.network import Network
from tests.support.cluster_process import ClusterProcess
from tests.support.zookeeper import ZookeeperProcess

SMALL = {
    "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "500",
}
SESSION_SECONDS = 4.0
"""What ``ClusterProcess`` gives brokers until they are given up."""


def one_broker(home: Path, **environment: str) -> ClusterProcess:
    """A single copy of everything: enough to see what a broker does with a broken disk."""
    return ClusterProcess(home, 1, sound=False, **{**SMALL, **_copies(1), **environment})


def three_brokers(
    home: Path, *, machines: Mapping[int, tuple[str, Sequence[str]]] | None = None, **environment: str
) -> ClusterProcess:
    """Replication factor 3, min.insync.replicas 2: what ships when three brokers run."""
    replicated = {
        "OTTLA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
        "OTTLA_MIN_INSYNC_REPLICAS": "2",
        "OTTLA_REPLICA_LAG_TIME_MAX_MS": "6000",
    }
    return ClusterProcess(
        home, 3, sound=False, machines=machines, **{**SMALL, **_copies(3), **replicated, **environment}
    )


@contextlib.contextmanager
def three_machines(tmp_path: Path) -> Iterator[tuple[ClusterProcess, Network]]:
    """Each broker on a machine of its own, as far as the network goes, and the metadata in ZooKeeper on a fourth."""
    with (
        Network((1, 2, 3)) as network,
        ZookeeperProcess(tmp_path / "zookeeper", settings="clientPortAddress=0.0.0.0\n") as store,
    ):
        machines = {node: (network.address(node), network.prefix(node)) for node in network.brokers}
        metadata = f"zookeeper://{network.address(network.HOST)}:{store.port}/ottla"
        with three_brokers(tmp_path / "home", machines=machines, OTTLA_METADATA=metadata) as cluster:
            yield cluster, network


def _copies(count: int) -> dict[str, str]:
    return {
        "OTTLA_OFFSETS_TOPIC_REPLICATION_FACTOR": str(count),
        "OTTLA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": str(count),
    }
