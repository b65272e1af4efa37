"""``manage.py setup``: makes an ``OTTLA_HOME`` fit to serve. Safe to run again; ``up`` runs it when needed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from broker.supervisor import fingerprint
from broker.supervisor.home import prepare_home
from broker.supervisor.roles import PROJECT_ROOT

ADMINISTRATOR = "admin"
PASSWORD_BYTES = 15
SETUP_LOCK = 0x6F74746C61
"""PostgreSQL's advisory locks are numbers."""


@contextmanager
def _alone() -> Iterator[None]:
    """Machines with homes of their own may set up one PostgreSQL at the same moment; a file has its home's lock."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [SETUP_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [SETUP_LOCK])


class Command(BaseCommand):
    help = "Secrets, migrations, static files and the administrator `admin`, whose password is printed once."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        current = fingerprint.compute(PROJECT_ROOT, os.environ.get("DATABASE_URL", ""))
        prepare_home(settings.OTTLA_HOME)
        with _alone():
            call_command("migrate", interactive=False, verbosity=0)
            self._create_administrator()
        call_command("collectstatic", interactive=False, verbosity=0)
        fingerprint.store(settings.OTTLA_HOME, current)

    def _create_administrator(self) -> None:
        """Only where there is none: neither a changed password nor a renamed account is touched."""
        users = get_user_model()
        if users._default_manager.filter(is_superuser=True).exists():
            return
        given = os.environ.get("OTTLA_ADMIN_PASSWORD")
        password = given or secrets.token_urlsafe(PASSWORD_BYTES)
        users._default_manager.create_superuser(ADMINISTRATOR, "", password)
        if given:
            self.stdout.write(f"administrator {ADMINISTRATOR}: password as given by OTTLA_ADMIN_PASSWORD")
        else:
            self.stdout.write(f"administrator {ADMINISTRATOR}, password {password}  (shown this once)")
