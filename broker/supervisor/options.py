"""What ``manage.py up`` was asked to run, and where: read from the environment, checked once.

Owns: ``Options`` and the arithmetic of listener addresses. The command line only overrides variables of the
environment, so every child reads the same answers from the same names. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

INTERNAL_PORT_OFFSET = 10_000
"""A broker's internal listener is this far above its client listener."""
BROKERS_MAX = 32
PORT_MAX = 65_535
SOCKET_PATH_BYTES_MAX = 107
"""``sun_path`` of Linux, less its terminating zero."""

DEFAULT_BROKERS = 3
"""As many as replication needs to live through the loss of one."""
DEFAULT_KAFKA = "127.0.0.1:9092"
DEFAULT_HTTP = "127.0.0.1:8000"
DEFAULT_HOME = "var"

ROLES = ("redis", "broker", "collector", "worker", "beat", "web", "demo")
"""What ``--only`` accepts, besides ``broker-N`` for one of several brokers. In the order they are needed."""


class Endpoint(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reachable(self) -> Endpoint:
        """Where a process of this machine connects when the listener is bound to every address."""
        return Endpoint({"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host), self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    home: Path
    brokers: int
    kafka: Endpoint
    """Client listener of broker 1; broker N listens N - 1 ports further."""
    http: Endpoint
    only: str
    """Empty: everything."""
    redis_url: str
    """Empty: start a server of our own."""
    demo: bool
    """Start the demo workload with everything else."""
    database_url: str = ""
    """Empty: Django's database is a file in ``home``."""
    worker_brokers: tuple[int, ...] = ()
    """Whose files are where the worker runs. Empty: all brokers' from 1 to ``brokers``."""

    def client_endpoint(self, broker_id: int) -> Endpoint:
        return Endpoint(self.kafka.host, self.kafka.port + broker_id - 1)

    def internal_endpoint(self, broker_id: int) -> Endpoint:
        return Endpoint(self.kafka.host, self.kafka.port + broker_id - 1 + INTERNAL_PORT_OFFSET)

    @property
    def valkey_socket(self) -> Path:
        return self.home / "valkey.sock"

    @property
    def control_socket(self) -> Path:
        return self.home / "control.sock"


def options_from_environment(environ: Mapping[str, str]) -> Options:
    """Raises ``ValueError`` with a line that names the variable and its option."""
    options = Options(
        home=Path(environ.get("OTTLA_HOME") or DEFAULT_HOME).absolute(),
        brokers=_broker_count(environ),
        kafka=_kafka(environ),
        http=parse_endpoint(environ.get("OTTLA_HTTP") or DEFAULT_HTTP, "--http or OTTLA_HTTP"),
        only=(environ.get("OTTLA_ONLY") or "").strip(),
        redis_url=(environ.get("OTTLA_REDIS_URL") or environ.get("REDIS_URL") or "").strip(),
        demo=_flag(environ, "OTTLA_DEMO"),
        database_url=(environ.get("DATABASE_URL") or "").strip(),
        worker_brokers=_worker_brokers(environ),
    )
    _check_only(options)
    highest = options.internal_endpoint(options.brokers).port
    if highest > PORT_MAX:
        raise ValueError(
            f"--kafka {options.kafka}: the last internal listener would need port {highest}, above {PORT_MAX};"
            f" choose a port up to {PORT_MAX - INTERNAL_PORT_OFFSET - options.brokers + 1}"
        )
    for path in (options.valkey_socket, options.control_socket):
        if len(str(path).encode()) > SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"--home {options.home}: too long a path for the sockets in it; choose a shorter one")
    return options


def client_endpoints(environ: Mapping[str, str]) -> list[str]:
    """Client listeners as another process reaches them: ``OTTLA_BOOTSTRAP``, else derived from ``OTTLA_KAFKA``."""
    given = _comma_list(environ.get("OTTLA_BOOTSTRAP"))
    if given:
        return [str(parse_endpoint(item, "OTTLA_BOOTSTRAP")) for item in given]
    first = _kafka(environ).reachable()
    return [str(Endpoint(first.host, first.port + index)) for index in range(_broker_count(environ))]


def internal_endpoints(environ: Mapping[str, str]) -> list[str]:
    """The same for the internal listeners: ``OTTLA_BOOTSTRAP_INTERNAL``, else each client port + 10000."""
    given = _comma_list(environ.get("OTTLA_BOOTSTRAP_INTERNAL"))
    if given:
        return [str(parse_endpoint(item, "OTTLA_BOOTSTRAP_INTERNAL")) for item in given]
    clients = (parse_endpoint(item, "OTTLA_BOOTSTRAP") for item in client_endpoints(environ))
    return [str(Endpoint(client.host, client.port + INTERNAL_PORT_OFFSET)) for client in clients]


def parse_endpoint(text: str, origin: str) -> Endpoint:
    """``HOST:PORT`` or ``[V6]:PORT``."""
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= PORT_MAX:
        raise ValueError(f"{origin}: {text!r} is not HOST:PORT")
    return Endpoint(host, int(port))


def _kafka(environ: Mapping[str, str]) -> Endpoint:
    return parse_endpoint(environ.get("OTTLA_KAFKA") or DEFAULT_KAFKA, "--kafka or OTTLA_KAFKA")


def _broker_count(environ: Mapping[str, str]) -> int:
    text = (environ.get("OTTLA_BROKERS") or str(DEFAULT_BROKERS)).strip()
    if not text.isdecimal() or not 1 <= int(text) <= BROKERS_MAX:
        raise ValueError(f"--brokers or OTTLA_BROKERS: {text!r} is not a number from 1 to {BROKERS_MAX}")
    return int(text)


def _worker_brokers(environ: Mapping[str, str]) -> tuple[int, ...]:
    ids = _comma_list(environ.get("OTTLA_WORKER_BROKERS"))
    if not all(text.isdecimal() and int(text) > 0 for text in ids) or len(ids) > BROKERS_MAX:
        raise ValueError("OTTLA_WORKER_BROKERS: write the ids of the brokers on this machine, separated by commas")
    return tuple(map(int, ids))


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = (environ.get(name) or "false").strip().lower()
    if text not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError(f"{name}: write true or false, not {text!r}")
    return text in ("true", "1", "yes", "on")


def _check_only(options: Options) -> None:
    if not options.only or options.only in ROLES:
        return
    role, _, number = options.only.partition("-")
    if role == "broker" and number.isdecimal() and 1 <= int(number) <= BROKERS_MAX:
        return
    raise ValueError(f"--only or OTTLA_ONLY: {options.only!r} is none of {', '.join(ROLES)}, broker-N")


def _comma_list(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]
