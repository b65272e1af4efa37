from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client


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
