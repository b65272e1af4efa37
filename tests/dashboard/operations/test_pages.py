"""The wizards: shown before done, refused in words, done only as shown, and audited."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from django.test import Client

from broker.client.results import (
    BrokerEndpoint,
    ClusterDescription,
    ConfigEntry,
    PartitionMetadata,
    PlacementOutcome,
    Reassignment,
    TopicMetadata,
)
from broker.errors import ErrorCode
from broker.models import JobRun
from broker.types import TopicPartition
from dashboard.gateway import GatewayError
from dashboard.models import AuditEntry
from dashboard.operations import elections, facts, jobs, moves, throttle, work
from tests.dashboard.browsing import read, sign_in, text
from tests.dashboard.samples import Bench
from tests.dashboard.three import placed, replicated, start

pytestmark = pytest.mark.django_db

OK = PlacementOutcome(error=ErrorCode.NONE)
PLAN = "/replication/reassign/?topic=orders&to=exactly&replicas=3,2"


def partition(number: int, leader: int, replicas: tuple[int, ...], isr: tuple[int, ...] = ()) -> PartitionMetadata:
    return PartitionMetadata(
        partition=number, leader=leader, leader_epoch=1, replicas=replicas, isr=isr or replicas, offline_replicas=()
    )


class FakeGateway:
    def __init__(self) -> None:
        self.partitions = [partition(0, 1, (1, 2)), partition(1, 2, (1, 2))]
        self.under_way: dict[TopicPartition, Reassignment] = {}
        self.moved: dict[TopicPartition, Sequence[int] | None] = {}
        self.elected: list[TopicPartition] = []
        self.outcomes: dict[TopicPartition, PlacementOutcome] = {}
        self.trouble: GatewayError | None = None
        self.configs: dict[int, dict[str, str]] = {1: {}, 2: {}, 3: {}}
        self.topic_values: dict[str, str] = {}
        self.throttle_refused = ""

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def topics(self) -> tuple[TopicMetadata, ...]:
        self._fail()
        return (TopicMetadata(name="orders", topic_id="id", internal=False, partitions=tuple(self.partitions)),)

    def describe_cluster(self) -> ClusterDescription:
        self._fail()
        ends = tuple(BrokerEndpoint(id=one, host="127.0.0.1", port=9091 + one) for one in (1, 2, 3))
        return ClusterDescription(cluster_id="c", controller_id=1, brokers=ends)

    def reassignments(self) -> dict[TopicPartition, Reassignment]:
        self._fail()
        return self.under_way

    def reassign(
        self, targets: Mapping[TopicPartition, Sequence[int] | None]
    ) -> dict[TopicPartition, PlacementOutcome]:
        self.moved |= targets
        return {key: self.outcomes.get(key, OK) for key in targets}

    def elect_preferred_leaders(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, PlacementOutcome]:
        self.elected = list(partitions)
        return {key: self.outcomes.get(key, OK) for key in self.elected}

    def broker_configs(self, broker_id: int) -> list[ConfigEntry]:
        return [_entry(name, value, "DYNAMIC_BROKER_CONFIG") for name, value in self.configs[broker_id].items()]

    def topic_configs(self, name: str) -> list[ConfigEntry]:
        return [_entry(key, value, "DYNAMIC_TOPIC_CONFIG") for key, value in self.topic_values.items()]

    def alter_broker_config(self, broker_id: int, name: str, value: str | None, *, validate_only: bool = False) -> None:
        if self.throttle_refused:
            raise GatewayError(self.throttle_refused, code=ErrorCode.INVALID_CONFIG)
        if not validate_only:
            _put(self.configs[broker_id], name, value)

    def alter_topic_configs(self, name: str, changes: Mapping[str, str | None]) -> None:
        for key, value in changes.items():
            _put(self.topic_values, key, value)


def _put(values: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value


def _entry(name: str, value: str, source: str) -> ConfigEntry:
    return ConfigEntry(
        name=name,
        value=value,
        source=source,
        is_default=False,
        read_only=False,
        sensitive=False,
        type="LONG",
        documentation="",
        synonyms=(),
    )


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, live_memory: object) -> FakeGateway:
    fake = FakeGateway()
    for module in (moves, elections, facts, throttle):
        monkeypatch.setattr(module, "gateway", lambda: fake)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    return sign_in(client, django_user_model, "move_partitions")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Workers that know every kind of work; what was sent to them."""
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(jobs, "is_known", lambda kind: True)
    monkeypatch.setattr(jobs, "send", lambda kind, job_id: sent.append((kind, job_id)))
    monkeypatch.setattr(work, "unsupervised", lambda brokers: [])
    return sent


def carried(body: str) -> str:
    found = re.search(r'name="plan" value="([^"]*)"', body)
    assert found is not None, body
    return html.unescape(found[1])


URLS = (
    "/replication/reassign/",
    "/replication/moves/",
    "/replication/moves/cancel/",
    "/replication/elect-leaders/",
    "/brokers/rolling-restart/",
    "/brokers/1/decommission/",
)


def test_they_take_a_login(client: Client) -> None:
    for url in URLS:
        assert client.get(url).headers["Location"].startswith("/login/")


def test_without_the_permission_they_are_shown_and_not_done(viewer: Client, gateway: FakeGateway) -> None:
    assert "Your account may look at brokers and partitions but not move" in read(viewer, PLAN)
    for url in (PLAN, "/replication/elect-leaders/", "/brokers/rolling-restart/", "/replication/throttle/lift/"):
        assert viewer.post(url, {"plan": "x"}).status_code == 403
    assert (gateway.moved, gateway.elected) == ({}, [])


def test_a_cluster_that_does_not_answer_says_so(operator: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    for url in ("/replication/reassign/", PLAN, "/replication/moves/", "/replication/moves/cancel/"):
        assert "The broker did not answer in time." in read(operator, url)
    assert "The broker did not answer in time." in read(operator, "/replication/elect-leaders/", 503)


# Moving --------------------------------------------------------------------------------------------


def test_a_wrong_choice_is_refused_at_its_field(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, "/replication/reassign/?to=exactly&replicas=&throttle=fast&partitions=orders")
    assert "“orders” is not a partition: write it as topic-0" in body
    assert "Write the brokers&#x27; numbers with commas between" in body
    assert "Choose at least one topic" not in body
    assert "There is no partition orders-7." in read(
        operator, "/replication/reassign/?partitions=orders-7&to=spread&broker=1"
    )


def test_what_is_confirmed_is_what_was_shown(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, PLAN)
    assert "2 of 2 partitions move; how much there is to copy is not known. Nothing is moved yet." in text(body)
    assert gateway.moved == {}
    answer = operator.post(PLAN, {"plan": carried(body)})
    assert answer.headers["Location"] == "/replication/moves/"
    assert gateway.moved == {TopicPartition("orders", 0): (3, 2), TopicPartition("orders", 1): (3, 2)}
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.outcome) == ("move partitions", "orders", "done")
    assert entry.before == {"orders-0": [1, 2], "orders-1": [1, 2]}
    assert entry.after["replicas"] == {"orders-0": [3, 2], "orders-1": [3, 2]}


def test_a_plan_that_changed_meanwhile_is_not_carried_out(operator: Client, gateway: FakeGateway) -> None:
    shown = carried(read(operator, PLAN))
    gateway.partitions[0] = partition(0, 2, (1, 2))
    answer = operator.post(PLAN, {"plan": shown})
    assert answer.status_code == 409
    assert "The cluster has changed since you looked. Nothing was moved" in answer.content.decode()
    assert gateway.moved == {}


def test_a_partition_that_is_refused_is_named_and_the_others_move(operator: Client, gateway: FakeGateway) -> None:
    key = TopicPartition("orders", 1)
    gateway.outcomes[key] = PlacementOutcome(error=ErrorCode.INVALID_REPLICA_ASSIGNMENT, message="Broker 3 is full.")
    body = operator.post(PLAN, {"plan": carried(read(operator, PLAN))}, follow=True).content.decode()
    assert "1 of 2 partitions were refused. orders-1: Broker 3 is full." in body
    assert "1 partition began to move." in body
    assert AuditEntry.objects.get().after["refused"] == {"orders-1": "Broker 3 is full."}


def test_a_limit_is_checked_set_shown_and_lifted(operator: Client, gateway: FakeGateway) -> None:
    url = f"{PLAN}&throttle=10+MiB"
    gateway.throttle_refused = "It is not supported."
    assert "The cluster refuses the limit." in read(operator, url)
    gateway.throttle_refused = ""
    operator.post(url, {"plan": carried(read(operator, url))})
    rate = str(10 * 2**20)
    assert gateway.configs[3] == {throttle.LEADER_RATE: rate, throttle.FOLLOWER_RATE: rate}
    assert gateway.topic_values == {throttle.LEADER_REPLICAS: "0:1,0:2,1:1,1:2", throttle.FOLLOWER_REPLICAS: "0:3,1:3"}
    body = text(read(operator, "/replication/moves/"))
    assert "Nothing moves, and a limit on copying is still set." in body
    assert "Broker 3: 10 MiB/s." in body
    operator.post("/replication/throttle/lift/")
    assert (gateway.configs, gateway.topic_values) == ({1: {}, 2: {}, 3: {}}, {})
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["move partitions", "lift throttle"]


def test_moves_under_way_are_shown_and_cancelled_by_name(operator: Client, gateway: FakeGateway) -> None:
    key = TopicPartition("orders", 0)
    gateway.under_way = {key: Reassignment(replicas=(1, 2, 3), adding=(3,), removing=(1,))}
    assert "leaving:" in text(read(operator, "/replication/moves/"))
    body = text(read(operator, "/replication/moves/cancel/"))
    assert "the copies on 3 are thrown away, 1 stay" in body
    operator.post("/replication/moves/cancel/", {"partition": ["orders-0", "orders-9"]})
    assert gateway.moved == {key: None}
    assert AuditEntry.objects.get().action == "cancel moves"


def test_what_is_done_by_the_time_it_is_cancelled_stays_done(operator: Client, gateway: FakeGateway) -> None:
    body = operator.post("/replication/moves/cancel/", {"partition": "orders-0"}, follow=True).content.decode()
    assert "1 had been completed before." in body
    assert "There is nothing to cancel" in read(operator, "/replication/moves/cancel/")


# Electing ------------------------------------------------------------------------------------------


def test_preferred_leaders_are_elected_as_shown(operator: Client, gateway: FakeGateway) -> None:
    gateway.partitions.append(partition(2, 3, (1, 3), isr=(3,)))
    body = read(operator, "/replication/elect-leaders/")
    assert "1 partition gets its preferred leader back." in text(body)
    assert "unchanged: broker 1 is not in sync" in body
    operator.post("/replication/elect-leaders/", {"plan": carried(body)})
    assert gateway.elected == [TopicPartition("orders", 1)]
    assert AuditEntry.objects.get().before == {"orders-1": 2}


def test_leaders_that_changed_meanwhile_are_shown_anew(operator: Client, gateway: FakeGateway) -> None:
    shown = carried(read(operator, "/replication/elect-leaders/"))
    gateway.partitions[0] = partition(0, 2, (1, 2))
    answer = operator.post("/replication/elect-leaders/", {"plan": shown})
    assert (answer.status_code, gateway.elected) == (409, [])


def test_nothing_to_elect_is_said(operator: Client, gateway: FakeGateway) -> None:
    gateway.partitions = [partition(0, 1, (1, 2))]
    assert "Every partition is led by its preferred replica." in read(operator, "/replication/elect-leaders/")


# Restarting and taking out -------------------------------------------------------------------------


def test_a_rolling_restart_says_its_order_and_becomes_a_run(
    operator: Client, at_bench_time: Bench, worker: list, django_capture_on_commit_callbacks: Any
) -> None:
    start(at_bench_time)
    body = read(operator, "/brokers/rolling-restart/")
    assert "Every partition stays readable and writable throughout." in body
    assert carried(body) == "2,3,1", "the controller last"
    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post("/brokers/rolling-restart/", {"plan": "2,3,1"})
    job = JobRun.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.detail, job.requested_by) == ("broker.rolling_restart", {"brokers": [2, 3, 1]}, "operator")
    assert worker == [("broker.rolling_restart", job.pk)]
    body = text(read(operator, "/brokers/rolling-restart/"))
    assert f"A rolling restart is under way. sync It is under way. Watch run {job.pk}" in body
    assert "Begin the restart" not in body
    assert AuditEntry.objects.get().after == {"run": job.pk, "brokers": [2, 3, 1]}


def test_a_restart_of_what_nobody_could_take_over_says_what_is_missed(
    operator: Client, at_bench_time: Bench, worker: list
) -> None:
    start(
        at_bench_time,
        placed(number=0, replicas=[1], isr=[1]),
        placed(number=1, replicas=[1, 2], isr=[1, 2]),
        topics=(replicated(partitions=2),),
    )
    body = text(read(operator, "/brokers/rolling-restart/?broker=1"))
    assert "1 partition cannot be used while its broker restarts." in body
    assert "1 partition with a single copy in sync cannot be read or written for some seconds." in body
    assert "1 partition takes no acks=all writes for some seconds" in body
    shown = carried(read(operator, "/brokers/rolling-restart/?broker=1"))
    assert operator.post("/brokers/rolling-restart/?broker=1", {"plan": "1"}).status_code == 409, "not what was shown"
    operator.post("/brokers/rolling-restart/?broker=1", {"plan": shown})
    assert JobRun.objects.get().detail == {"brokers": [1], "may_interrupt": True}


def test_it_does_not_begin_while_something_is_out_of_sync(operator: Client, at_bench_time: Bench, worker: list) -> None:
    start(at_bench_time, placed(isr=[1, 2]))
    assert "1 replica of broker 3 is out of sync" in read(operator, "/brokers/rolling-restart/")
    answer = operator.post("/brokers/rolling-restart/", {"plan": "2,3,1"})
    assert (answer.status_code, JobRun.objects.count()) == (409, 0)
    assert AuditEntry.objects.get().outcome == "refused"


def test_evening_out_carries_out_the_plan_that_was_shown(
    operator: Client, gateway: FakeGateway, worker: list, django_capture_on_commit_callbacks: Any
) -> None:
    body = read(operator, "/brokers/rebalance/")
    assert "1 partition would move." in text(body)
    assert operator.post("/brokers/rebalance/", {"plan": "another"}).status_code == 409
    with django_capture_on_commit_callbacks(execute=True):
        operator.post("/brokers/rebalance/", {"plan": carried(body)})
    job = JobRun.objects.get()
    assert worker == [("broker.rebalance", job.pk)]
    assert (job.kind, job.detail["estimate"]["moves"], len(job.detail["plan"])) == ("broker.rebalance", 1, 1)
    assert f"Run {job.pk} does the same" in text(read(operator, "/brokers/rebalance/"))
    page = text(read(operator, f"/jobs/{job.pk}/"))
    assert "Replicas before" in page


def test_decommissioning_takes_the_number_typed(operator: Client, at_bench_time: Bench, worker: list) -> None:
    start(at_bench_time, placed(replicas=[1, 2], isr=[1, 2]))
    url = "/brokers/2/decommission/?throttle=1+MiB"
    body = read(operator, url)
    assert "moves to other brokers; then broker 2 leaves the cluster." in text(body)
    wrong = operator.post(url, {"plan": carried(body), "typed_name": "3"})
    assert (wrong.status_code, JobRun.objects.count()) == (409, 0)
    operator.post(url, {"plan": carried(body), "typed_name": "2"})
    job = JobRun.objects.get()
    assert (job.kind, job.broker_id, job.detail) == ("broker.decommission", 2, {"throttle": 2**20})


def test_a_broker_whose_replicas_have_nowhere_to_go_cannot_be_taken_out(
    operator: Client, at_bench_time: Bench, worker: list
) -> None:
    start(at_bench_time)
    body = text(read(operator, "/brokers/2/decommission/"))
    assert "Some partitions have 3 replicas and only 2 other brokers could keep them" in body


def test_workers_that_do_not_know_the_work_are_told_before_it_is_confirmed(
    operator: Client, at_bench_time: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(at_bench_time)
    monkeypatch.setattr(jobs, "is_known", lambda kind: False)
    assert "The workers of this version do not know this kind of work." in read(operator, "/brokers/rolling-restart/")
