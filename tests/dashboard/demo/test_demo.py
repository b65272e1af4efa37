"""The demo workload: real figures, real clients, and two buttons for those who may."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from broker.supervisor.service import ServiceState
from dashboard.demo import names, status, views, workload
from dashboard.demo.metrics import PROCESSES_MAX, MachineMetrics, busiest_processes
from dashboard.demo.status import DemoStatus
from dashboard.live.store import MemoryStore
from dashboard.models import AuditEntry
from dashboard.services.supervisor import SupervisorError
from tests.support.broker_process import BrokerProcess
from tests.support.wait import eventually, wait_until


def test_every_reading_is_a_key_and_a_json_value() -> None:
    metrics = MachineMetrics()
    for _ in range(2):
        readings = list(metrics.levels())
        assert {"memory", "load", "cpu0"} <= {key for key, _ in readings}
        assert all(json.loads(json.dumps(value)) == value and "metric" in value for _, value in readings)
    processes = list(busiest_processes())
    assert 0 < len(processes) <= PROCESSES_MAX
    sizes = [value["rss_bytes"] for _, value in processes]
    assert sizes == sorted(sizes, reverse=True)


async def test_it_writes_and_reads_with_a_group_that_keeps_up_and_one_that_lags(
    broker_process: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "TICK_SECONDS", 0.1)
    stopping = asyncio.Event()
    running = asyncio.create_task(workload.run(broker_process.bootstrap, stopping))
    client = KafkaClient(broker_process.bootstrap)

    def ends() -> int:
        return sum(
            offset.offset
            for topic, partitions in names.TOPICS.items()
            for offset in client.list_offsets(topic, dict.fromkeys(range(partitions), -1)).values()
        )

    def committed(group: str) -> int:
        return sum(offset.offset for offset in client.group_offsets(group) if offset.offset > 0)

    def lags_and_keeps_up() -> bool:
        assert not running.done(), running
        written = ends()
        return written > 100 and committed(names.CURRENT_GROUP) > written / 2 > committed(names.LAGGING_GROUP) > 0

    try:
        await eventually(lambda: names.METRICS_TOPIC in {t.name for t in client.metadata().topics}, seconds=30)
        what = "one group keeps up and the other lags"
        await asyncio.to_thread(wait_until, lags_and_keeps_up, what, seconds=60)
    finally:
        stopping.set()
        await asyncio.wait_for(running, 15)
        client.close()


async def test_a_stop_while_its_groups_are_still_forming_closes_every_client(broker_process: BrokerProcess) -> None:
    client = KafkaClient(broker_process.bootstrap)
    stopping = asyncio.Event()
    running = asyncio.create_task(workload.run(broker_process.bootstrap, stopping))
    try:
        await eventually(lambda: _members(client) > 0, seconds=30)
    finally:
        stopping.set()
        await asyncio.wait_for(running, 15)
    gc.collect()  # what was left open says so now, as a warning that fails this test
    assert _members(client) == 0
    client.close()


def _members(client: KafkaClient) -> int:
    return sum(
        len(group.members) for group in client.describe_groups([names.CURRENT_GROUP, names.LAGGING_GROUP]).values()
    )


@pytest.fixture
def operator(client: Client, django_user_model: Any, live_memory: MemoryStore) -> Client:
    user = django_user_model.objects.create_user("operator", password="a long enough password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="operate_services"))
    client.force_login(user)
    return client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the supervisor is asked for; it manages the demo."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(views, "change_service", lambda *call: calls.append(call))
    monkeypatch.setattr(views, "demo_status", lambda: DemoStatus(running=False, managed=True))
    return calls


@pytest.mark.django_db
def test_the_buttons_ask_the_supervisor_and_leave_a_trace(operator: Client, asked: list[tuple[str, ...]]) -> None:
    assert operator.post("/demo/start/").headers["Location"] == "/"
    assert operator.post("/demo/stop/").headers["Location"] == "/"
    assert asked == [("start", "demo", "operator"), ("stop", "demo", "operator")]
    entries = list(AuditEntry.objects.order_by("pk").values_list("action", "outcome"))
    assert entries == [("start demo workload", "done"), ("stop demo workload", "done")]


@pytest.mark.django_db
def test_without_a_supervisor_it_is_told_how_to_start_it(
    operator: Client, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "demo_status", lambda: DemoStatus(running=False, managed=False))
    page = operator.post("/demo/start/", follow=True).content.decode()
    assert "docker compose --profile demo up -d demo" in page
    assert asked == []
    assert AuditEntry.objects.get().outcome == "refused"


@pytest.mark.django_db
def test_a_refusal_of_the_supervisor_is_shown(
    operator: Client, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise SupervisorError("The supervisor refused: another change of demo is under way.")

    monkeypatch.setattr(views, "change_service", refuse)
    assert "another change of demo" in operator.post("/demo/stop/", follow=True).content.decode()


@pytest.mark.django_db
def test_it_takes_the_permission_and_a_post_of_this_site(
    viewer: Client, live_memory: MemoryStore, asked: list[tuple[str, ...]]
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = viewer.cookies
    for url in ("/demo/start/", "/demo/stop/"):
        assert viewer.post(url).status_code == 403
        assert viewer.get(url).status_code == 405
        assert strict.post(url).status_code == 403
    assert asked == []


@pytest.mark.parametrize(
    ("state", "running"),
    [(ServiceState.STOPPED, False), (ServiceState.READY, True), (ServiceState.BACKING_OFF, True)],
)
def test_the_supervisor_knows_whether_it_runs(
    monkeypatch: pytest.MonkeyPatch, state: ServiceState, running: bool
) -> None:
    class Row:
        trouble = ""

    class Services:
        @staticmethod
        def find(name: str) -> Row:
            assert name == "demo"
            return Row()

    Row.state = state  # type: ignore[attr-defined]
    monkeypatch.setattr(status, "read_services", Services)
    assert status.demo_status() == DemoStatus(running=running, managed=True)
