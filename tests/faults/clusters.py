"""The clusters under test: one broker or three, small internal topics, nothing verified but by the checker.

Durability is what is shipped: an acknowledgement means that enough replicas have it on disk.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster_process import ClusterProcess

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


def three_brokers(home: Path, **environment: str) -> ClusterProcess:
    """Replication factor 3, min.insync.replicas 2: what ships when three brokers run."""
    replicated = {
        "OTTLA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
        "OTTLA_MIN_INSYNC_REPLICAS": "2",
        "OTTLA_REPLICA_LAG_TIME_MAX_MS": "6000",
    }
    return ClusterProcess(home, 3, sound=False, **{**SMALL, **_copies(3), **replicated, **environment})


def _copies(count: int) -> dict[str, str]:
    return {
        "OTTLA_OFFSETS_TOPIC_REPLICATION_FACTOR": str(count),
        "OTTLA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": str(count),
    }
