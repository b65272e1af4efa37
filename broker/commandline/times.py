"""Points in time and durations as people write them, and as they are shown.

Owns: ISO 8601 as Kafka's tools take it. A point in time without a zone is UTC, as there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from broker.types import NO_TIMESTAMP, TimestampMs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d{1,3})?)S)?)?",
    re.IGNORECASE,
)


def parse_time(text: str) -> TimestampMs:
    """``2026-03-01T12:00:00.000``, with or without a zone, or milliseconds since 1970. Raises ``ValueError``."""
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write YYYY-MM-DDTHH:MM:SS, or milliseconds since 1970") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def parse_duration(text: str) -> int:
    """Milliseconds of an ISO 8601 duration: ``PT5M``, ``P1DT12H``, ``P2W``. Raises ``ValueError``."""
    match = _DURATION.fullmatch(text)
    parts = {name: float(value) for name, value in (match.groupdict() if match else {}).items() if value}
    if not parts or text[-1] in "Tt":
        raise ValueError(f"{text!r} is no duration: write for example PT30M, PT12H, P7D or P1DT6H")
    try:
        return timedelta(**parts) // _MILLISECOND
    except OverflowError:
        raise ValueError(f"{text!r} is longer than can be counted") from None


def format_time(timestamp_ms: TimestampMs | None) -> str:
    """UTC with milliseconds; a dash for none."""
    if timestamp_ms is None or timestamp_ms == NO_TIMESTAMP:
        return "-"
    try:
        return (_EPOCH + timestamp_ms * _MILLISECOND).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    except OverflowError:
        return str(timestamp_ms)
