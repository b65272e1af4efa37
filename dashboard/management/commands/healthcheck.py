"""``manage.py healthcheck ROLE``: exit code 0 when the role does its work, 1 and the reason when not."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.services.role_health import CHECKS, Unhealthy, check


class Command(BaseCommand):
    help = "Tell whether a role does its work; brokers are asked with `python -m broker.client.ping HOST:PORT`."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=sorted(CHECKS))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check(options["role"], dict(os.environ))
        except Unhealthy as reason:
            raise CommandError(str(reason)) from reason
        self.stdout.write("ok")
