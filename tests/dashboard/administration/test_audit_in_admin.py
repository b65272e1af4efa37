"""The audit trail: readable by those who may, changeable by nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dashboard.models import AuditEntry
from tests.dashboard.administration.conftest import sign_in_staff

pytestmark = pytest.mark.django_db
LIST = "/admin/dashboard/auditentry/"


@pytest.fixture
def entry() -> AuditEntry:
    return AuditEntry.objects.create(
        actor_name="käthe",
        action="configure topic",
        subject="orders",
        before={"retention.ms": None},
        after={"<b>": "1"},
    )


def test_it_tells_who_did_what_when(client: Client, django_user_model: Any, entry: AuditEntry) -> None:
    auditor = sign_in_staff(client, django_user_model, "view_auditentry")
    page = auditor.get(LIST).content.decode()
    assert "käthe" in page
    assert "configure topic" in page
    assert f"{entry.at:%Y-%m-%d %H:%M:%S} UTC" in page
    details = auditor.get(f"{LIST}{entry.pk}/change/").content.decode()
    assert "retention.ms" in details
    assert "&lt;b&gt;" in details


def test_nobody_writes_or_deletes_it(client: Client, django_user_model: Any, entry: AuditEntry) -> None:
    codenames = [f"{action}_auditentry" for action in ("view", "add", "change", "delete")]
    auditor = sign_in_staff(client, django_user_model, *codenames)
    assert auditor.get(f"{LIST}add/").status_code == 403
    assert auditor.post(f"{LIST}{entry.pk}/change/", {"subject": "other"}).status_code == 403
    assert auditor.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert AuditEntry.objects.get().subject == "orders"


def test_it_takes_the_permission(client: Client, django_user_model: Any, entry: AuditEntry) -> None:
    assert sign_in_staff(client, django_user_model, "view_topic").get(LIST).status_code == 403
