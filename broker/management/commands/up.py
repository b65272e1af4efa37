"""``manage.py up``: everything on this machine, in the foreground.

Turns into ``python -m broker.supervisor``: the process that stays knows nothing of Django.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

from broker.supervisor.options import DEFAULT_BROKERS, DEFAULT_HTTP, DEFAULT_KAFKA, ROLES

EPILOG = """\
environment:
  every option is also a variable: OTTLA_BROKERS, OTTLA_HTTP, OTTLA_KAFKA, OTTLA_HOME, OTTLA_ONLY

  OTTLA_ADMIN_PASSWORD     password of the administrator `admin` when set-up creates it
                           (default: a generated one, printed once)
  OTTLA_KAFKA_ADVERTISED   HOST:PORT that clients are told, a comma list for several brokers
  OTTLA_<CONFIG>           any broker config in capitals with underscores, for example
                           OTTLA_NUM_PARTITIONS=4 or OTTLA_ACK_DURABILITY=os. Different from a broker
                           run alone, unless set: group.initial.rebalance.delay.ms is 0, and with three brokers
                           default.replication.factor is 3 and min.insync.replicas 2
  OTTLA_DEMO               true starts the demo workload too; it can be started and stopped on the overview
  OTTLA_ALLOWED_HOSTS      host names the web pages answer to, comma list
                           (default: 127.0.0.1, localhost, and the host of --http)
  OTTLA_TRUSTED_ORIGINS    https://name of a proxy in front, comma list
  OTTLA_HTTPS              true when that proxy ends TLS: Secure cookies, HSTS
  OTTLA_TIME_ZONE          of the pages (default UTC)
  REDIS_URL                a Redis or Valkey of yours instead of one started here
  DATABASE_URL             PostgreSQL instead of a file for accounts, audit and jobs:
                           postgresql://USER:PASSWORD@HOST:5432/NAME
  OTTLA_METADATA           ZooKeeper instead of a file for the cluster's metadata:
                           zookeeper://zk1:2181,zk2:2181,zk3:2181/ottla
  OTTLA_WORKER_BROKERS     ids of the brokers whose files are on the worker's machine (default: 1 to --brokers)

Internal listeners take the port 10000 above each broker's. Ctrl-C or SIGTERM stops everything in order.
"""


class _Formatter(DjangoHelpFormatter):
    """Keeps the line breaks of the epilog."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text == EPILOG else super()._fill_text(text, width, indent)


class Command(BaseCommand):
    help = "Run Ottla: Redis, brokers, collector, Celery worker and beat, web server."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog = EPILOG
        parser.formatter_class = _Formatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--brokers", metavar="N", help=f"how many brokers (default {DEFAULT_BROKERS})")
        parser.add_argument("--http", metavar="HOST:PORT", help=f"where the web pages are (default {DEFAULT_HTTP})")
        parser.add_argument(
            "--kafka",
            metavar="HOST:PORT",
            help=f"where broker 1 listens; broker N listens N-1 ports further (default {DEFAULT_KAFKA})",
        )
        parser.add_argument("--home", metavar="DIR", help="where all state is kept (default ./var)")
        parser.add_argument("--only", metavar="ROLE", help=f"run one role: {', '.join(ROLES)}, broker-N")

    def handle(self, *args: Any, **options: Any) -> None:
        environ = dict(os.environ)
        for name in ("brokers", "http", "kafka", "home", "only"):
            if options[name] is not None:
                environ[f"OTTLA_{name.upper()}"] = options[name]
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-m", "broker.supervisor"], environ)
