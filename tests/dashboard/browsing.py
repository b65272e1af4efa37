"""People with one permission, and pages as text, for the tests of pages."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client


def sign_in(client: Client, user_model: Any, codename: str) -> Client:
    """As somebody who may do this one thing, and is not staff."""
    user = user_model.objects.create_user("operator", password="a long enough password")
    user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    return client


def read(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def text(body: str) -> str:
    """Without markup and runs of blanks, as a person reads it."""
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())
