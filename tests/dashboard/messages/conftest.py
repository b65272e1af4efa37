from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from dashboard.live.store import MemoryStore
from dashboard.messages import browser, produce, views
from dashboard.pages.topics import views as topic_views
from tests.dashboard.fakes import FakeGateway


@pytest.fixture
def fake_gateway(monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore) -> FakeGateway:
    """Takes the place of the gateway everywhere the message pages ask it."""
    gateway = FakeGateway()
    for module in (browser, produce, views, topic_views):
        monkeypatch.setattr(module, "gateway", lambda: gateway)
    return gateway


@pytest.fixture
def editor(client: Client, django_user_model: Any) -> Client:
    """Signed in and may change topics; not staff."""
    user = django_user_model.objects.create_user("editor", password="a long enough password")
    user.user_permissions.add(Permission.objects.get(codename="change_topic"))
    client.force_login(user)
    return client
