"""kafka-python's protocol classes: the second opinion. Importing them warns about their use of importlib."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kafka.protocol import admin, consumer, metadata, producer
    from kafka.record import MemoryRecords

__all__ = ["MemoryRecords", "message_class"]


def message_class(name: str) -> Any | None:
    """``None`` if kafka-python does not have the message."""
    for module in (metadata, producer, consumer, admin):
        if hasattr(module, name):
            return getattr(module, name)
    return None


def reencode(cls: Any, version: int, body: bytes) -> bytes:
    """What kafka-python writes after reading ``body``."""
    decoded = cls.decode(body, version=version)
    decoded._header = None  # without it, its encoder trips over a decoded message
    return bytes(decoded.encode(version=version))
