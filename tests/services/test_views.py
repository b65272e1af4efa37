"""The Services page: who sees what, who may do what, and what is left of it in the audit trail."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from broker.supervisor.control_client import SupervisorRefused, SupervisorUnreachable
from dashboard.models import AuditEntry
from dashboard.services import supervisor

pytestmark = pytest.mark.django_db


def item(name: str, state: str = "ready", **changes: Any) -> dict[str, Any]:
    running = state in ("ready", "starting")
    return {
        "name": name,
        "role": name.partition("-")[0],
        "state": state,
        "pid": 4242 if running else None,
        "started_at_ms": 1_700_000_000_000 if running else None,
        "restarts": 0,
        "last_exit": "",
        "next_start_seconds": None,
        "memory_bytes": 48 * 1024 * 1024 if running else None,
        "cpu_percent": 1.5 if running else None,
        "address": "",
        "command": f"python -m {name}",
        "log_path": f"/home/logs/{name}.log",
        "last_lines": ["<b>ready</b>"],
    } | changes


class FakeSupervisor:
    def __init__(self) -> None:
        self.items = {name: item(name) for name in ("redis", "broker-1", "worker", "web")}
        self.changes: list[tuple[str, str, str]] = []
        self.trouble: Exception | None = None

    def status(self) -> dict[str, Any]:
        if self.trouble:
            raise self.trouble
        return {"home": "/home", "sampled_at_ms": 1_700_000_001_000, "services": list(self.items.values())}

    def tail(self, name: str, lines: int) -> list[str]:
        return ["first line", "<script>alert(1)</script>"]

    def change(self, command: str, name: str, actor: str) -> None:
        self.changes.append((command, name, actor))
        if name == "worker":
            raise SupervisorRefused("another change of worker is under way")
        self.items[name] = item(name, "stopped" if command == "stop" else "starting")


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSupervisor:
    fake = FakeSupervisor()
    monkeypatch.setattr(supervisor, "supervisor_client", lambda: fake)
    return fake


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(get_user_model()._default_manager.create_user("viewer"))
    return client


@pytest.fixture
def operator(client: Client) -> Client:
    user = get_user_model()._default_manager.create_user("operator", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="operate_services"))
    client.force_login(user)
    return client


@pytest.mark.parametrize("path", ["/services/", "/services/table", "/services/web/", "/services/web/stop/"])
def test_strangers_are_sent_to_the_login_page(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/login/?next=")


def test_everybody_who_is_signed_in_sees_the_processes_but_no_buttons(viewer: Client) -> None:
    page = viewer.get("/services/").content.decode()
    assert "All 4 services are ready." in page
    assert "4242" in page
    assert "48 MiB" in page
    assert "/services/broker-1/stop/" not in page


def test_what_a_process_wrote_is_text(viewer: Client) -> None:
    assert "&lt;b&gt;ready" in viewer.get("/services/").content.decode()
    assert "<script>alert(1)" not in viewer.get("/services/broker-1/").content.decode()


def test_a_process_that_keeps_dying_is_the_verdict(viewer: Client, fake: FakeSupervisor) -> None:
    fake.items["broker-1"] = item(
        "broker-1", "backing off", last_exit="was ended by SIGKILL", next_start_seconds=3.7, restarts=3
    )
    page = viewer.get("/services/table").content.decode()
    assert "broker-1 keeps failing." in page
    assert "It was ended by SIGKILL; next attempt in 4 s." in page


def test_without_a_supervisor_the_page_says_why_it_is_empty(viewer: Client, fake: FakeSupervisor) -> None:
    fake.trouble = SupervisorUnreachable("gone")
    response = viewer.get("/services/")
    assert response.status_code == 200
    assert b"No supervisor answers" in response.content
    assert viewer.get("/services/broker-1/").status_code == 200


def test_a_service_that_does_not_exist_is_not_found(viewer: Client) -> None:
    assert viewer.get("/services/nobody/").status_code == 404


@pytest.mark.parametrize("method", ["get", "post"])
def test_looking_is_not_operating(viewer: Client, fake: FakeSupervisor, method: str) -> None:
    assert getattr(viewer, method)("/services/broker-1/stop/").status_code == 403
    assert fake.changes == []


def test_a_change_is_confirmed_with_its_effects_first(operator: Client, fake: FakeSupervisor) -> None:
    page = operator.get("/services/broker-1/stop/").content.decode()
    assert "Stop broker-1?" in page
    assert "Its clients are disconnected" in page
    assert fake.changes == []


def test_a_confirmed_change_happens_and_leaves_an_audit_row(operator: Client, fake: FakeSupervisor) -> None:
    response = operator.post("/services/broker-1/stop/", follow=True)
    assert fake.changes == [("stop", "broker-1", "operator")]
    assert "broker-1 has been stopped." in response.content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.actor_name, entry.action, entry.subject) == ("operator", "stop service", "broker-1")
    assert (entry.before["state"], entry.after["state"]) == ("ready", "stopped")
    assert entry.outcome == AuditEntry.Outcome.DONE


def test_what_the_supervisor_refuses_is_shown_and_recorded(operator: Client) -> None:
    response = operator.post("/services/worker/restart/", follow=True)
    assert "another change of worker is under way" in response.content.decode()
    entry = AuditEntry.objects.get()
    assert entry.outcome == AuditEntry.Outcome.REFUSED
    assert entry.after is None


@pytest.mark.parametrize(
    ("name", "command", "reason"),
    [
        ("web", "stop", "These pages come from it."),
        ("redis", "stop", "Jobs and live pages, this one too, need it."),
        ("broker-1", "start", "It runs already."),
    ],
)
def test_what_makes_no_sense_is_not_even_asked_of_the_supervisor(
    operator: Client, fake: FakeSupervisor, name: str, command: str, reason: str
) -> None:
    assert reason in operator.get(f"/services/{name}/{command}/").content.decode()
    assert reason in operator.post(f"/services/{name}/{command}/", follow=True).content.decode()
    assert fake.changes == []


def test_there_are_three_commands(operator: Client) -> None:
    assert operator.get("/services/broker-1/explode/").status_code == 404


def test_a_form_of_another_site_changes_nothing(fake: FakeSupervisor) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model()._default_manager.create_superuser("root"))
    assert strict.post("/services/broker-1/stop/").status_code == 403
    assert fake.changes == []
