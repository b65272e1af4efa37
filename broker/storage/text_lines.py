"""The form of Kafka's small text files (offset checkpoints, leader epochs): version 0, the number of entries, an entry a line.

Pure. What an entry is says who owns the file.
"""

from __future__ import annotations

from collections.abc import Iterable

VERSION = "0"


def encode_lines(entries: Iterable[str]) -> bytes:
    lines = list(entries)
    return ("\n".join([VERSION, str(len(lines)), *lines]) + "\n").encode()


def decode_lines(content: bytes) -> list[str]:
    """The entries. Raises ``ValueError`` for anything but a whole file of this version."""
    lines = content.decode("utf-8").splitlines()
    if len(lines) < 2 or lines[0] != VERSION:
        raise ValueError("unknown version")
    if not content.endswith(b"\n"):
        raise ValueError("the last line is cut off")
    if len(lines) != 2 + int(lines[1]):
        raise ValueError(f"{lines[1]} entries announced, {len(lines) - 2} found")
    return lines[2:]
