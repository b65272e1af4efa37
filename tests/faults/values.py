"""Values whose bytes prove themselves: a number unique over the run, what it is a copy of, padding, and a hash."""

from __future__ import annotations

import hashlib

from tests.faults.checker.history import DAMAGED, TOMBSTONE

HASH_SIZE = 8
NUMBERS_PER_WRITER = 10**9
"""Writer N numbers its values from N times this on."""


def encode_value(value: int, *, source: int = 0, size: int = 0) -> bytes:
    """At least ``size`` bytes."""
    text = b"%d:%d:" % (value, source)
    text += b"." * max(0, size - len(text) - 2 * HASH_SIZE)
    return text + _hash(text)


def decode_value(content: bytes | None) -> tuple[int, int]:
    """(value, source); DAMAGED for bytes that nobody encoded so."""
    if content is None:
        return TOMBSTONE, 0
    text, digest = content[: -2 * HASH_SIZE], content[-2 * HASH_SIZE :]
    if digest != _hash(text):
        return DAMAGED, 0
    value, source, _ = text.split(b":", 2)
    return int(value), int(source)


def _hash(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=HASH_SIZE).hexdigest().encode()
