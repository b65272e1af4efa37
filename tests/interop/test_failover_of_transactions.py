"""A transactional copy lives through the loss of its coordinator and of partition leaders: every record once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.client.blocking import Client
from tests.interop import apache
from tests.interop.copying import PARTITIONS, Copying, Output, committed, counts_of, fill
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

RECORDS = 1_500
JAVA_RECORDS = 3_000
KEY = "copier"
COPY_SECONDS_MAX = 120.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    few = {
        "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
        "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
        "OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "200",
        "OTTLA_MIN_INSYNC_REPLICAS": "2",
    }
    with ClusterProcess(tmp_path, **few) as processes:
        yield processes


def test_every_record_is_copied_once_though_coordinator_and_leaders_are_killed(cluster: ClusterProcess) -> None:
    with Client(cluster.bootstrap) as client:
        for topic in ("source", "sink"):
            client.create_topic(topic, PARTITIONS, 3)
        copying = Copying(cluster.bootstrap, KEY, "source", "sink", counts_of(RECORDS), batch=2)
        victims = (
            lambda: cluster.coordinator(KEY, transactional=True),
            lambda: cluster.wait_leader("sink"),
            lambda: cluster.coordinator(KEY),
        )
        portion = RECORDS // len(victims)
        for number, who in enumerate(victims):
            # No more than this, so that it is not done before everybody was killed.
            fill(cluster.bootstrap, "source", portion, first=number * portion)
            goal = copying.transactions + 5
            wait_until(
                lambda goal=goal: copying.transactions >= goal or copying.done,  # type: ignore[misc]
                "the copying goes on",
                seconds=COPY_SECONDS_MAX,
            )
            victim = who()
            cluster.kill(victim)
            cluster.start(victim)
        wait_until(lambda: copying.done, "everything is copied", seconds=COPY_SECONDS_MAX)
        assert Counter(committed(client, "sink")) == Counter(b"%d" % number for number in range(RECORDS))


def test_apaches_copier_copies_every_record_once_though_brokers_are_killed(cluster: ClusterProcess) -> None:
    apache.require_apache_kafka()
    with Client(cluster.bootstrap) as client:
        for topic in ("source", "sink"):
            client.create_topic(topic, PARTITIONS, 3)
        fill(cluster.bootstrap, "source", JAVA_RECORDS)
        copier = apache.start_tool(
            "TransactionalMessageCopier",
            *("--broker-list", cluster.bootstrap, "--input-topic", "source", "--input-partition", "-1"),
            *("--output-topic", "sink", "--consumer-group", "copiers", "--transactional-id", KEY),
            *("--transaction-size", "5", "--group-mode", "--use-group-metadata", "--transaction-timeout", "20000"),
        )
        output = Output(copier)
        try:
            for victim_of in (
                lambda: cluster.coordinator(KEY, transactional=True),
                lambda: cluster.wait_leader("sink"),
            ):
                heard = len(output.lines)
                wait_until(
                    lambda heard=heard: len(output.lines) > heard + 2 or output.ended,  # type: ignore[misc]
                    "the copier goes on",
                    seconds=COPY_SECONDS_MAX,
                )
                assert not output.ended, "it was done before enough brokers were killed"
                victim = victim_of()
                cluster.kill(victim)
                cluster.start(victim)
            copier.wait(COPY_SECONDS_MAX)
        finally:
            copier.kill()
            output.join()
        assert copier.returncode == 0, "\n".join(output.lines[-20:])
        assert Counter(committed(client, "sink")) == Counter(b"%d" % number for number in range(JAVA_RECORDS))
