"""Element ids of rows. Names of topics and groups may hold anything, so ids carry a digest."""

from __future__ import annotations

import hashlib


def row_id(prefix: str, name: str) -> str:
    return f"{prefix}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
