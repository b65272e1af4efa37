"""``manage.py runbroker --id N``: become the broker process.

The broker imports neither Django nor Celery, so this replaces the process by ``python -m broker`` instead of running
it inside: memory and start-up stay those of the broker alone.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Run one broker in this process (execs python -m broker)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", type=int, default=1, help="broker id, from 1 on (default 1)")
        parser.add_argument("--home", default=str(settings.OTTLA_HOME), help="state directory (default OTTLA_HOME)")

    def handle(self, *args: Any, **options: Any) -> None:
        broker_id: int = options["id"]
        if broker_id < 1:
            raise CommandError("broker ids start at 1")
        argv = [sys.executable, "-m", "broker", "--id", str(broker_id), "--home", options["home"]]
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self.stdout.flush()
        os.execve(sys.executable, argv, environment)
