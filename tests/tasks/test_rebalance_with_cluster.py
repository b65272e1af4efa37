"""Evening out and emptying real brokers: the plan is kept, carried out and taken back, and no record is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import transaction
from pytest_django import Settings

from broker import tasks
from broker.client.blocking import Client
from broker.jobs import runs
from broker.jobs.cluster_facts import placed
from broker.models import JobRun
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

PARTITIONS, RECORDS = 6, 60

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(tmp_path: Path, settings: Settings) -> Iterator[ClusterProcess]:
    """Four brokers, of which the fourth is not there yet."""
    made = ClusterProcess(tmp_path, brokers=4)
    for broker_id in (1, 2, 3):
        made.brokers[broker_id].launch()
    for broker_id in (1, 2, 3):
        made.brokers[broker_id].wait_ready()
    made.wait_brokers()
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{one.internal_port}" for one in made.brokers.values()]
    settings.OTTLA_CLUSTER_SECRET_FILE = tmp_path / "cluster_secret"
    try:
        yield made
        assert made.close()
        made.verify()
    finally:
        made.close()


def queued(kind: str, broker_id: int | None = None, **detail: object) -> JobRun:
    with transaction.atomic():
        return JobRun.objects.create(
            kind=kind, broker_id=broker_id, trigger=JobRun.Trigger.PERSON, requested_by="operator", detail=detail
        )


def replicas(client: Client, topic: str) -> list[tuple[int, ...]]:
    return [one.replicas for key, one in placed(client.metadata()).items() if key.topic == topic]


def values(client: Client, topic: str) -> int:
    return sum(ends.offset for ends in client.list_offsets(topic, dict.fromkeys(range(PARTITIONS), -1)).values())


def test_a_broker_joins_gets_its_share_and_leaves_again(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=PARTITIONS, replication_factor=2)
    with Client(cluster.brokers[1].bootstrap) as client:
        for number in range(RECORDS):
            client.produce(topic, b"key", b"%d" % number, partition=number % PARTITIONS)
        cluster.start(4)

        job = queued("broker.rebalance", throttle=50 * 2**20)
        assert tasks.run_rebalance(job.pk) == "done"
        job.refresh_from_db()
        assert (job.state, job.error, job.progress_done) == ("succeeded", "", job.progress_total)
        assert job.detail["estimate"]["moves"] == len(job.detail["plan"]) > 0
        held = Counter(broker for of_one in replicas(client, topic) for broker in of_one)
        assert held == {1: 3, 2: 3, 3: 3, 4: 3}
        for partition in range(PARTITIONS):
            cluster.wait_isr(topic, partition)
        leaders = Counter(one.leader for key, one in placed(client.metadata()).items() if key.topic == topic)
        assert max(leaders.values()) <= 2
        assert values(client, topic) == RECORDS
        assert all(
            not name.source.startswith("DYNAMIC")
            for name in client.describe_topic_configs(topic)
            if "throttled" in name.name
        ), "the limit is taken away with the last move"

        again = queued("broker.rebalance")
        tasks.run_rebalance(again.pk)
        again.refresh_from_db()
        assert (again.state, again.detail["plan"]) == ("succeeded", [])

        gone = queued("broker.decommission", 4)
        assert tasks.run_decommission(gone.pk) == "done", JobRun.objects.get(pk=gone.pk).error
        assert all(4 not in of_one for of_one in replicas(client, topic))
        assert values(client, topic) == RECORDS
        fetched = sum(len(client.fetch(topic, one, 0).records) for one in range(PARTITIONS))
        assert fetched == RECORDS


def test_a_plan_is_gone_on_with_after_its_worker_died_and_taken_back_when_cancelled(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=PARTITIONS, replication_factor=2)
    with Client(cluster.brokers[1].bootstrap) as client:
        before = replicas(client, topic)
        # A plan in the row, as a worker left it that died before the first move; broker 4 is not there to copy anything.
        cluster.start(4)
        cluster.stop(4)
        cluster.wait_gone(4)
        key_rows = [[topic, number, list(of_one), [4, of_one[0]]] for number, of_one in enumerate(before)]
        job = queued("broker.rebalance", plan=key_rows)
        runs.cancel(job.pk)
        assert JobRun.objects.get(pk=job.pk).state == "cancelled", "nothing was begun, so there is nothing to take back"

        job = queued("broker.rebalance", plan=key_rows)
        client.reassign(
            {key: (4, one.replicas[0]) for key, one in placed(client.metadata()).items() if key.topic == topic}
        )
        assert len(client.reassignments()) == PARTITIONS
        claimed = runs.claim(job.pk)
        assert claimed is not None
        assert runs.queue_again(claimed)
        assert runs.cancel(job.pk)
        assert tasks.run_rebalance(job.pk) == "cancelled"
        assert client.reassignments() == {}
        assert replicas(client, topic) == before
        wait_until(lambda: not client.reassignments(), "nothing moves")
