"""``manage.py runcollector``: listen to every broker and keep the live state; see ``dashboard.collector.driver``."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from broker.client.addresses import parse_bootstrap
from dashboard.collector.driver import Collector
from dashboard.collector.facts import gather_facts
from dashboard.collector.listening import Reach, Source
from dashboard.collector.sources import TelemetrySource, secret_reader
from dashboard.live.groups import send_frame
from dashboard.live.store import live_store


class Command(BaseCommand):
    help = "Read every broker's telemetry, derive rates, lag and health, and publish them to the dashboard."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--brokers",
            metavar="HOST:PORT,…",
            help="internal listeners of some brokers, broker 1 first (default: from the settings); others are found by what these tell",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        addresses = parse_bootstrap(options["brokers"] or settings.OTTLA_BOOTSTRAP_INTERNAL)
        read_secret = secret_reader(settings.OTTLA_CLUSTER_SECRET_FILE)
        reach = partial(TelemetrySource, read_secret=read_secret)
        sources: list[tuple[int, Source]] = [(index + 1, reach(address)) for index, address in enumerate(addresses)]
        asyncio.run(_collect(sources, reach, self.stdout.write))


async def _collect(sources: list[tuple[int, Source]], reach: Reach, say: Any) -> None:
    """Until SIGTERM or SIGINT."""
    collector = Collector(sources, reach=reach, store=live_store(), send=send_frame, gather_facts=gather_facts)
    running = asyncio.create_task(collector.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    say("ready")
    try:
        await running
    except asyncio.CancelledError:
        pass
