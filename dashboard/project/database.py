"""Where Django keeps its rows: a file in ``OTTLA_HOME``, or PostgreSQL where ``DATABASE_URL`` says so.

``postgresql://USER:PASSWORD@HOST:PORT/NAME?sslmode=require``; special characters in user and password are percent-encoded. Options after
the question mark are libpq's. Pure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("postgresql", "postgres")
POSTGRES_PORT = 5432
EXAMPLE = "postgresql://ottla:PASSWORD@db.example.com:5432/ottla"
CONNECT_SECONDS_MAX = 10
OPTIONS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "application_name", "connect_timeout"}
)


def database(url: str, home: Path) -> dict[str, Any]:
    """An entry of ``DATABASES``. Raises ``ValueError`` with a sentence that does not repeat the password."""
    return _postgres(url) if url else _file(home)


def _file(home: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": home / "db.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
        },
    }


def _postgres(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/"))
    try:
        port = parts.port or POSTGRES_PORT
    except ValueError:
        port = 0
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    # libpq takes the directory of a unix socket for a host.
    host = options.pop("host", "") or unquote(parts.hostname or "")
    if parts.scheme not in SCHEMES or not host or not name or "/" in name or not port:
        raise ValueError(f"DATABASE_URL must be like {EXAMPLE}")
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"DATABASE_URL: unknown option {unknown[0]!r}; known are {', '.join(sorted(OPTIONS))}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port),
        # Under ASGI each request has a thread of its own, and a connection that is kept would belong to one that is gone.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"connect_timeout": str(CONNECT_SECONDS_MAX), "application_name": "ottla", **options},
    }
