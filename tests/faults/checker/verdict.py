"""What the checker says: anomalies by name, the shortest examples of each, and figures."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

EXAMPLES_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    name: str
    detail: str
    at_ns: int = 0
    """When it came to light; 0 if only the end shows it."""
    warning: bool = False
    """Worth a line in the report, and no failure."""


@dataclass(slots=True, kw_only=True)
class Finding:
    count: int = 0
    warning: bool = True
    examples: list[Anomaly] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Report:
    findings: dict[str, Finding] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    timeline: list[tuple[float, str]] = field(default_factory=list)
    """(seconds since the run began, fault or heal)."""

    @property
    def failures(self) -> dict[str, Finding]:
        return {name: finding for name, finding in self.findings.items() if not finding.warning}

    def add(self, anomalies: Iterable[Anomaly]) -> None:
        by_name: dict[str, list[Anomaly]] = {}
        for anomaly in anomalies:
            by_name.setdefault(anomaly.name, []).append(anomaly)
        for name, found in by_name.items():
            finding = self.findings.setdefault(name, Finding())
            finding.count += len(found)
            finding.warning = finding.warning and all(one.warning for one in found)
            finding.examples = heapq.nsmallest(
                EXAMPLES_MAX, [*finding.examples, *found], key=lambda one: len(one.detail)
            )

    def text(self) -> str:
        lines = []
        for name, finding in sorted(self.findings.items(), key=lambda item: (item[1].warning, item[0])):
            lines.append(f"{'warning' if finding.warning else 'FAILURE'}: {name} ({finding.count})")
            lines += [f"    {one.detail}" for one in finding.examples]
        lines += [f"{name}: {value:g}" for name, value in sorted(self.figures.items())]
        lines += [f"{second:8.2f} s  {what}" for second, what in self.timeline]
        return "\n".join(lines)
