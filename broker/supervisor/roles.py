"""From options to processes: what runs, how it is started, when it is ready, in which order it stops. Pure.

Commands are the ones a person would type; ``--only`` and the container images run the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from broker.supervisor.options import Endpoint, Options
from broker.supervisor.queues import queues_on_machine_of
from broker.supervisor.readiness import http_answers, redis_answers
from broker.supervisor.redis_server import find_server_program, server_arguments
from broker.supervisor.service import Answers, OutputSays, ServiceSpec

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS_MODULE = "dashboard.project.settings"
CELERY_APP = "dashboard.project.celery:app"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPhase:
    """Services that may end at the same time. They are asked group by group; who is not gone when the phase is
    over is killed."""

    groups: tuple[tuple[frozenset[str], float], ...]
    """Roles, and how long the next group waits for them before it is asked as well."""
    seconds: float
    """What the phase adds to the time allowed so far: what earlier phases did not need is left to later ones."""


STOP_PHASES = (
    StopPhase(
        groups=(
            (frozenset({"web"}), 1.5),
            (frozenset({"beat", "demo"}), 0.7),
            (frozenset({"worker"}), 3.0),
            (frozenset({"collector"}), 0.7),
        ),
        seconds=6.2,
    ),
    StopPhase(groups=((frozenset({"broker"}), 2.8),), seconds=2.8),
    StopPhase(groups=((frozenset({"redis"}), 0.5),), seconds=0.5),
)
"""Whoever asks is gone before who answers. A Celery worker at rest needs 2.5 s, most others a few tenths."""
STOP_SECONDS_MAX = 9.6
"""Of the ten an installation has; the rest is for the supervisor itself."""

assert sum(phase.seconds for phase in STOP_PHASES) < STOP_SECONDS_MAX
assert all(sum(patience for _, patience in phase.groups) <= phase.seconds for phase in STOP_PHASES)

REMOVED_FROM_CHILDREN = frozenset({"OTTLA_ADMIN_PASSWORD", "OTTLA_ONLY"})

WEBSOCKET_FRAME_BYTES_MAX = 64 * 1024
"""What a browser may send in one frame; subscriptions are far smaller."""
WEBSOCKET_BYTES_MAX = 4 * 1024 * 1024
"""What either side may send in one message. Fifty rows of a page with long names and reasons are a few hundred KiB, and a message that
is too large would end the connection, again and again."""

REPLICAS = 3
"""Of a new topic where that many brokers run; two of them have to be in sync for acks=all."""

MAINTENANCE_PROCESSES_MAX = 4
"""Compactions of different brokers that one worker runs at the same time."""

READY_LINE = re.compile(r"^ready\b")
WORKER_READY = re.compile(r"celery@\S+ ready\.")
BEAT_READY = re.compile(r"beat: Starting")


def service_specs(options: Options, python: str = sys.executable) -> list[ServiceSpec]:
    """Everything ``--only`` lets through, in the order of need. Raises ``ValueError`` when Redis is wanted and missing."""
    wanted = {spec.name: spec for spec in _all_specs(options, python) if _selected(spec, options)}
    return [_without_absent_needs(spec, wanted) for spec in wanted.values()]


def child_environment(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    """What every process gets: the given environment, with the answers of this installation filled in."""
    result = {name: value for name, value in environ.items() if name not in REMOVED_FROM_CHILDREN}
    result.update(
        OTTLA_HOME=str(options.home),
        OTTLA_BROKERS=str(options.brokers),
        OTTLA_KAFKA=str(options.kafka),
        OTTLA_HTTP=str(options.http),
        OTTLA_REDIS_URL=options.redis_url or f"unix://{options.valkey_socket}?db=0",
        DJANGO_SETTINGS_MODULE=environ.get("DJANGO_SETTINGS_MODULE") or SETTINGS_MODULE,
        PYTHONUNBUFFERED="1",
    )
    # One arena instead of one per thread: an idle Django process is 10 to 20 MB smaller.
    result.setdefault("MALLOC_ARENA_MAX", "2")
    # As Kafka's own quick-start configuration does: nobody waits three seconds for a first consumer here.
    result.setdefault("OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
    # Kafka's own defaults, 1 and 1, are for a single broker.
    result.setdefault("OTTLA_DEFAULT_REPLICATION_FACTOR", str(min(options.brokers, REPLICAS)))
    result.setdefault("OTTLA_MIN_INSYNC_REPLICAS", str(2 if options.brokers >= REPLICAS else 1))
    if options.http.host not in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):
        result.setdefault("OTTLA_ALLOWED_HOSTS", f"{options.http.host},127.0.0.1,localhost")
    return result


def listening_endpoints(options: Options, specs: list[ServiceSpec]) -> dict[str, Endpoint]:
    """Every port that will be bound, with what a person has to know when it is taken."""
    endpoints: dict[str, Endpoint] = {}
    for spec in specs:
        if spec.role == "broker":
            broker_id = int(spec.name.rpartition("-")[2])
            endpoints[f"{spec.name}, Kafka clients; choose another with --kafka HOST:PORT or OTTLA_KAFKA"] = (
                options.client_endpoint(broker_id)
            )
            endpoints[f"{spec.name}, internal listener, 10000 above --kafka HOST:PORT or OTTLA_KAFKA"] = (
                options.internal_endpoint(broker_id)
            )
        elif spec.role == "web":
            endpoints["web; choose another with --http HOST:PORT or OTTLA_HTTP"] = options.http
    return endpoints


def _all_specs(options: Options, python: str) -> list[ServiceSpec]:
    brokers = [_broker(options, python, broker_id) for broker_id in _broker_ids(options)]
    specs = [
        *brokers,
        _collector(python),
        _worker(options, python),
        _beat(options, python),
        _web(options, python),
        _demo(options, python, brokers),
    ]
    if options.redis_url and options.only != "redis":
        return specs
    if options.only in ("", "redis"):
        return [_redis(options), *specs]
    return specs


def _selected(spec: ServiceSpec, options: Options) -> bool:
    return options.only in ("", spec.role, spec.name)


def _without_absent_needs(spec: ServiceSpec, present: Mapping[str, ServiceSpec]) -> ServiceSpec:
    needs = tuple(name for name in spec.needs if name in present)
    return spec if needs == spec.needs else replace(spec, needs=needs)


def _broker_ids(options: Options) -> list[int]:
    role, _, number = options.only.partition("-")
    if role == "broker" and number:
        return [int(number)]
    return list(range(1, options.brokers + 1))


def _redis(options: Options) -> ServiceSpec:
    return ServiceSpec(
        name="redis",
        role="redis",
        argv=server_arguments(find_server_program(), options.valkey_socket),
        readiness=Answers(probe=lambda: redis_answers(options.valkey_socket)),
        address=f"unix:{options.valkey_socket}",
    )


def _broker(options: Options, python: str, broker_id: int) -> ServiceSpec:
    return ServiceSpec(
        name=f"broker-{broker_id}",
        role="broker",
        argv=(python, "-m", "broker", "--id", str(broker_id)),
        readiness=OutputSays(pattern=READY_LINE),
        address=f"{options.client_endpoint(broker_id)}, internal {options.internal_endpoint(broker_id)}",
    )


def _collector(python: str) -> ServiceSpec:
    return ServiceSpec(
        name="collector",
        role="collector",
        argv=(python, "manage.py", "runcollector"),
        readiness=OutputSays(pattern=READY_LINE),
        needs=("redis",),
        needs_setup=True,
    )


def _worker(options: Options, python: str) -> ServiceSpec:
    """One process for what any worker can do, and one for each broker whose files are on this machine, so that a long
    compaction holds up nobody."""
    broker_ids = options.worker_brokers or range(1, options.brokers + 1)
    consumes = ("--queues", ",".join(queues_on_machine_of(broker_ids)))
    at_once = ("--concurrency", str(1 + min(len(broker_ids), MAINTENANCE_PROCESSES_MAX)))
    # Gossip, mingle and heartbeats are for fleets of workers that watch each other; here they are idle CPU.
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return ServiceSpec(
        name="worker",
        role="worker",
        argv=(python, "-m", "celery", "-A", CELERY_APP, "worker", "--loglevel", "INFO", *consumes, *at_once, *quiet),
        readiness=OutputSays(pattern=WORKER_READY),
        needs=("redis",),
        needs_setup=True,
    )


def _beat(options: Options, python: str) -> ServiceSpec:
    return ServiceSpec(
        name="beat",
        role="beat",
        argv=(
            *(python, "-m", "celery", "-A", CELERY_APP, "beat", "--loglevel", "INFO"),
            *("--pidfile", "", "--schedule", str(options.home / "beat-schedule")),
        ),
        readiness=OutputSays(pattern=BEAT_READY),
        needs=("redis",),
        needs_setup=True,
    )


def _web(options: Options, python: str) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        role="web",
        argv=(
            *(python, "-m", "daphne", "--bind", options.http.host, "--port", str(options.http.port)),
            *("--no-server-name", "--verbosity", "0"),
            *("--websocket-max-message-size", str(WEBSOCKET_BYTES_MAX)),
            *("--websocket-max-frame-size", str(WEBSOCKET_FRAME_BYTES_MAX)),
            "dashboard.project.asgi:application",
        ),
        readiness=Answers(probe=lambda: http_answers(options.http, "localhost")),
        needs=("redis",),
        needs_setup=True,
        address=f"http://{options.http.reachable()}/",
    )


def _demo(options: Options, python: str, brokers: list[ServiceSpec]) -> ServiceSpec:
    return ServiceSpec(
        name="demo",
        role="demo",
        argv=(python, "manage.py", "rundemo"),
        readiness=OutputSays(pattern=READY_LINE),
        needs=tuple(broker.name for broker in brokers),
        autostart=options.demo or options.only == "demo",
    )
