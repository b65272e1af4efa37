"""Whether what a log dir had acknowledged survived the end of the process that wrote it.

A process that dies takes nothing with it: what it wrote is in the page cache, and the next process finds it. What a reboot or
a power cut leaves is what was flushed. So after an unclean stop everything is there if the machine is still in the same boot, or
if that process flushed before it acknowledged. ``boot.properties`` remembers both for the next start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from broker.storage.filesystem import FileSystem

BOOT_FILE = "boot.properties"
_VERSION = "version=0"
"""A later version writes another first line; a version that is not known proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLife:
    """Of the process that opens a log dir."""

    boot_id: str
    """What distinguishes two boots of this machine; empty where it does not tell."""
    flushes: bool
    """Whether it acknowledges only what is flushed (``ack.durability``)."""


def begin_life(filesystem: FileSystem, path: str, life: ProcessLife, *, clean: bool) -> bool:
    """Whether everything that was acknowledged before is still there. Remembers ``life`` for the next start."""
    file = os.path.join(path, BOOT_FILE)
    content = filesystem.read_file(file)
    former = _decode(content) if content is not None else None
    encoded = _encode(life)
    if content != encoded:
        filesystem.replace_file(file, encoded)
    if clean:
        return True
    if content is None:
        return life.flushes  # new, or of a version that did not remember: then the setting was most likely the same
    return former is not None and (former.flushes or (former.boot_id == life.boot_id != ""))


def _encode(life: ProcessLife) -> bytes:
    return f"{_VERSION}\nboot.id={life.boot_id}\nflushes={'true' if life.flushes else 'false'}\n".encode()


def _decode(content: bytes) -> ProcessLife | None:
    lines = content.decode("utf-8", "replace").splitlines()
    if len(lines) != 3 or lines[0] != _VERSION:
        return None
    boot, flushes = lines[1].partition("boot.id="), lines[2].partition("flushes=")
    if not boot[1] or flushes[2] not in ("true", "false"):
        return None
    return ProcessLife(boot_id=boot[2], flushes=flushes[2] == "true")
