"""``OTTLA_HOME`` on disk: its directory, its secrets, its locks, and whether its ports are free.

Owns: ``secret_key`` and ``cluster_secret`` (made once, readable by the owner only) and ``up.lock``. A whole
installation holds the lock exclusively; a role run alone shares it and holds a lock of its own name, so that
neither two installations nor two of one role ever work on one home.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
from pathlib import Path

from broker.supervisor.options import Endpoint, Options

SECRET_BYTES = 32


def prepare_home(home: Path) -> None:
    """Makes the directory and the secrets that are not there yet."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_once(home / "secret_key", secrets.token_urlsafe(48))
    write_once(home / "cluster_secret", secrets.token_bytes(SECRET_BYTES).hex())


def write_once(path: Path, text: str) -> None:
    """Creates the file with mode 0600; what is there already stays. Whoever reads it sees all of it or nothing."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def lock_home(options: Options) -> list[int]:
    """Descriptors that hold the locks until this process (or what it execs into) ends.

    Raises ``ValueError`` naming the holder when another one is there.
    """
    if not options.only:
        return [_lock(options.home / "up.lock", fcntl.LOCK_EX, options)]
    return [
        _lock(options.home / "up.lock", fcntl.LOCK_SH, options),
        _lock(options.home / f"up.{options.only}.lock", fcntl.LOCK_EX, options),
    ]


def check_ports(endpoints: dict[str, Endpoint]) -> None:
    """Raises ``ValueError`` for the first taken one; keys say what it is for and which option moves it."""
    for purpose, endpoint in endpoints.items():
        problem = _port_problem(endpoint)
        if problem:
            raise ValueError(f"port {endpoint.port} on {endpoint.host} {problem} ({purpose})")


def _port_problem(endpoint: Endpoint) -> str:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "is taken by another process"
            return f"cannot be used: {error.strerror or error}"
    return ""


def _lock(path: Path, kind: int, options: Options) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        by = f" (pid {holder})" if holder else ""
        what = f"'{options.only}' of {options.home}" if path.name != "up.lock" else str(options.home)
        raise ValueError(f"{what} is in use by another `manage.py up`{by}; stop it or choose another --home") from None
    # Whoever is named in the file is gone. Those who share it are several and stay unnamed.
    os.ftruncate(descriptor, 0)
    if kind == fcntl.LOCK_EX:
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    os.set_inheritable(descriptor, True)
    return descriptor
