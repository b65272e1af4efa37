"""`manage.py rundemo`: the demo workload in the foreground until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from dashboard.demo import workload


class Command(BaseCommand):
    help = "Produce this machine's own metrics, with one consumer group that keeps up and one that lags."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bootstrap", default=",".join(settings.OTTLA_BOOTSTRAP), help="HOST:PORT of a broker")

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run(options["bootstrap"]))

    async def _run(self, bootstrap: str) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        self.stdout.write("ready")
        self.stdout.flush()
        await workload.run(bootstrap, stopping)
