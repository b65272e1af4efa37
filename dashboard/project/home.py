"""Where the installation keeps its state, and the secrets it finds there.

Owns: the reading side only. Files are created by set-up (``broker.supervisor.home``); a process that finds
none works with what it was given by its environment, or with a key of its own that dies with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

SECRET_KEY_LENGTH_MIN = 32


def home_directory(environ: Mapping[str, str], create: bool = True) -> Path:
    """``OTTLA_HOME``, default ``./var``; made if it is not there, readable by nobody else."""
    home = Path(environ.get("OTTLA_HOME") or "var").absolute()
    if create:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def secret_key(environ: Mapping[str, str], home: Path) -> str:
    """``OTTLA_SECRET_KEY``, else the file set-up wrote, else a key for this process alone.

    A process-local key signs nothing another process accepts, so it is safe; it only ends sessions.
    """
    key = environ.get("OTTLA_SECRET_KEY") or read_text(home / "secret_key")
    if not key:
        return secrets.token_urlsafe(48)
    if len(key) < SECRET_KEY_LENGTH_MIN:
        raise ValueError(f"the secret key has fewer than {SECRET_KEY_LENGTH_MIN} characters; delete {home}/secret_key")
    return key


def read_text(path: Path) -> str:
    """The file's text without surrounding white space; empty when there is no such file."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def comma_list(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def flag(environ: Mapping[str, str], name: str, default: bool = False) -> bool:
    value = environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ValueError(f"{name}={value!r}: write true or false")
