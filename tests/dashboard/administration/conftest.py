from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from dashboard.gateway import gateway
from dashboard.live.store import MemoryStore
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def cluster(broker_process: BrokerProcess, settings: Any, live_memory: MemoryStore) -> Iterator[KafkaClient]:
    """The dashboard's gateway speaks to a real broker; this is another client of it."""
    settings.OTTLA_BOOTSTRAP = [broker_process.bootstrap]
    gateway.cache_clear()
    with KafkaClient(broker_process.bootstrap) as client:
        yield client
    gateway().client.close()
    gateway.cache_clear()


@pytest.fixture
def staff(client: Client, django_user_model: Any) -> Client:
    """May do everything with topics, nothing else."""
    return sign_in_staff(client, django_user_model, "add_topic", "change_topic", "view_topic", "delete_topic")


@pytest.fixture
def onlooker(client: Client, django_user_model: Any) -> Client:
    """Staff who may only look."""
    return sign_in_staff(client, django_user_model, "view_topic")


def sign_in_staff(client: Client, django_user_model: Any, *codenames: str) -> Client:
    user = django_user_model.objects.create_user("staff", password="a long enough password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client
