"""What ``verify_log`` finds, and what each kind means for the exit status.

DAMAGE     bytes that are not what was written, or files that contradict each other: exit status 1
TORN       a write cut off at the very end of the newest segment, where no durable data can be. What a crash or a
           running broker leaves; damage unless the command line allows it
WARNING    nothing is lost and the broker mends it by itself (an index that is missing): exit status 0, or 1 with
           ``--strict``
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

FINDINGS_MAX = 1000
"""Of one partition: a disk full of garbage has more to say than anybody reads."""


class Severity(Enum):
    DAMAGE = "damage"
    TORN = "torn"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    severity: Severity
    path: str
    what: str
    position: int | None = None
    """Byte in the file."""
    offset: int | None = None
    """Of the record or batch concerned."""

    def row(self) -> dict[str, Any]:
        return {
            "severity": self.severity.value,
            "path": self.path,
            "position": self.position,
            "offset": self.offset,
            "what": self.what,
        }


class Findings(list[Finding]):
    """Everything found, up to a bound; ``left_out`` counts the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out = 0

    def add(
        self, severity: Severity, path: str, what: str, *, position: int | None = None, offset: int | None = None
    ) -> None:
        if len(self) < FINDINGS_MAX:
            self.append(Finding(severity=severity, path=path, what=what, position=position, offset=offset))
        else:
            self.left_out += 1

    def damage(self, path: str, what: str, *, position: int | None = None, offset: int | None = None) -> None:
        self.add(Severity.DAMAGE, path, what, position=position, offset=offset)

    def warning(self, path: str, what: str, *, position: int | None = None, offset: int | None = None) -> None:
        self.add(Severity.WARNING, path, what, position=position, offset=offset)
