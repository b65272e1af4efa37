"""Whether what a log dir had acknowledged survived the end of the process that wrote it.

A process that dies takes nothing with it: what it wrote is in the page cache, and the next process finds it. What a reboot or
a power cut leaves is what was flushed. So after an unclean stop everything is there if the machine is still in the same boot, or
if that process flushed before it acknowledged. ``boot.properties`` remembers both for the next start.

What must stay true: that something may be gone is remembered until the cluster has taken note of it (``end_doubt``). A process that finds
it out and dies before it could say so would otherwise vouch, in its next life, for what a power cut took.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from broker.storage.filesystem import FileSystem

BOOT_FILE = "boot.properties"
_VERSION = "version=0"
"""A later version writes another first line; a version that is not known proves nothing."""
_IN_DOUBT = "in.doubt=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLife:
    """Of the process that opens a log dir."""

    boot_id: str
    """What distinguishes two boots of this machine; empty where it does not tell."""
    flushes: bool
    """Whether it acknowledges only what is flushed (``ack.durability``)."""


def begin_life(filesystem: FileSystem, path: str, life: ProcessLife, *, clean: bool) -> bool:
    """Whether everything that was acknowledged before is still there. Remembers ``life`` for the next start. Raises ``OSError``."""
    content = filesystem.read_file(os.path.join(path, BOOT_FILE))
    survived = _has_survived(content, life, clean=clean)
    _remember(filesystem, path, life, in_doubt=not survived)
    return survived


def end_doubt(filesystem: FileSystem, path: str, life: ProcessLife) -> None:
    """The cluster knows what ``begin_life`` has answered. Raises ``OSError``; then the next start says it again."""
    _remember(filesystem, path, life, in_doubt=False)


def _has_survived(content: bytes | None, life: ProcessLife, *, clean: bool) -> bool:
    former, in_doubt = (None, False) if content is None else _decode(content)
    if in_doubt:
        return False  # also after a clean stop: what was gone when that process began is gone
    if clean:
        return True
    if content is None:
        return life.flushes  # new, or of a version that did not remember: then the setting was most likely the same
    return former is not None and (former.flushes or (former.boot_id == life.boot_id != ""))


def _remember(filesystem: FileSystem, path: str, life: ProcessLife, *, in_doubt: bool) -> None:
    file, encoded = os.path.join(path, BOOT_FILE), _encode(life, in_doubt)
    if filesystem.read_file(file) != encoded:
        filesystem.replace_file(file, encoded)


def _encode(life: ProcessLife, in_doubt: bool) -> bytes:
    lines = [_VERSION, f"boot.id={life.boot_id}", f"flushes={'true' if life.flushes else 'false'}"]
    return ("\n".join([*lines, *([_IN_DOUBT] if in_doubt else [])]) + "\n").encode()


def _decode(content: bytes) -> tuple[ProcessLife | None, bool]:
    """The life, and whether it was in doubt about what it found."""
    lines = content.decode("utf-8", "replace").splitlines()
    in_doubt = lines[3:] == [_IN_DOUBT]
    if len(lines) != 3 + in_doubt or lines[0] != _VERSION:
        return None, in_doubt
    boot, flushes = lines[1].partition("boot.id="), lines[2].partition("flushes=")
    if not boot[1] or flushes[2] not in ("true", "false"):
        return None, in_doubt
    return ProcessLife(boot_id=boot[2], flushes=flushes[2] == "true"), in_doubt
