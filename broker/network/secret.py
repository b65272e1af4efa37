"""The cluster secret: what admits a peer to the internal listener.

One file in the home directory, 32 random bytes in hex, readable by the owner only. Whoever comes first creates it;
brokers of one machine that start at the same moment agree on one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

SECRET_FILE = "cluster_secret"
SECRET_BYTES = 32


def load_cluster_secret(home: Path) -> bytes:
    """Read the secret, creating it if there is none. Raises ``ValueError`` for a file that holds no secret."""
    path = home / SECRET_FILE
    if not path.exists():
        _create(path)
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"{path} does not hold a cluster secret of {SECRET_BYTES} bytes in hex")
    return secret


def _create(path: Path) -> None:
    """Whole or not at all: written beside it, then linked, which fails if another process was faster."""
    beside = path.with_name(f"{SECRET_FILE}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()
