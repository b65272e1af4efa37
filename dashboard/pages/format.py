"""Numbers and times as people read them. Pure.

Counts use k/M/G, bytes KiB/MiB/GiB, three digits of each; the exact value goes into the title. ``None`` never
reaches these functions: unknown is the template tags' business.
"""

from __future__ import annotations

import datetime

COUNT_UNITS = ("", " k", " M", " G", " T")
BYTE_UNITS = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")

STATE_WORDS = {
    "Empty": "no members",
    "PreparingRebalance": "waiting for members to join",
    "CompletingRebalance": "waiting for the assignment",
    "Assigning": "waiting for the assignment",
    "Reconciling": "members are taking over",
    "Stable": "stable",
    "Dead": "gone",
}
GROUP_TYPE_WORDS = {"classic": "classic", "consumer": "new (KIP-848)", "share": "share", "streams": "streams"}
MEMBER_STATE_WORDS = {
    "Stable": "",
    "UnrevokedPartitions": "gives up partitions",
    "UnreleasedPartitions": "waits for partitions that others still have",
}
LEVEL_ICONS = {
    "good": "check_circle",
    "warn": "warning",
    "bad": "error",
    "idle": "pause_circle",
    "unknown": "help",
}
LEVEL_WORDS = {"good": "good", "warn": "needs attention", "bad": "in trouble", "idle": "idle", "unknown": "unknown"}


def three_digits(value: float) -> str:
    """1.23, 12.3, 123; whole numbers below 1000 without a point."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    magnitude = abs(value)
    text = f"{value:.2f}" if magnitude < 10 else f"{value:.1f}" if magnitude < 100 else f"{value:.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= step and index < len(units) - 1:
        value /= step
        index += 1
    if abs(value) >= step - 0.5 and index < len(units) - 1:  # 999.7 would read 1000
        value, index = value / step, index + 1
    return three_digits(value) + units[index]


def count(value: float) -> str:
    """12,345 → ``12.3 k``; below ten thousand in full, because people compare those."""
    if abs(value) < 10_000 and value == int(value):
        return f"{int(value):,}"
    return scaled(value, 1000, COUNT_UNITS)


def size(value: float) -> str:
    return scaled(value, 1024, BYTE_UNITS)


def rate(value: float) -> str:
    """``12.4 k/s``, ``7/s``, ``0.2/s``."""
    text = three_digits(value) if abs(value) < 1000 else scaled(value, 1000, COUNT_UNITS)
    return f"{text}/s"


def byte_rate(value: float) -> str:
    return f"{size(value)}/s"


def exact(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.2f}"


def duration(seconds: float) -> str:
    """The largest unit that leaves a readable number: ``850 ms``, ``12 s``, ``4 min``, ``3 h``, ``12 d``."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms" if seconds > 0 else "0 s"
    if seconds < 120:
        return f"{int(seconds)} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400):,} d"


def ago(at_ms: int, now_ms: int) -> str:
    """``just now``, ``12 s ago``; a time ahead of this clock is ``in 3 s``."""
    seconds = (now_ms - at_ms) / 1000
    if -1 < seconds < 2:
        return "just now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def moment(at_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC)


def clock(at_ms: int) -> str:
    return moment(at_ms).astimezone().strftime("%H:%M:%S")


def absolute(at_ms: int) -> str:
    """With date, milliseconds and zone."""
    when = moment(at_ms).astimezone()
    return f"{when:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d} {when:%Z}"


def state_words(state: str) -> str:
    return STATE_WORDS.get(state, state.lower() or "unknown")


def group_type_words(kind: str) -> str:
    return GROUP_TYPE_WORDS.get(kind, kind or "unknown")


def member_state_words(state: str) -> str:
    """Empty while there is nothing to say."""
    return MEMBER_STATE_WORDS.get(state, state.lower())


def partition_ranges(partitions: list[int]) -> str:
    """``0–3, 7``."""
    ranges: list[list[int]] = []
    for partition in sorted(partitions):
        if ranges and partition == ranges[-1][1] + 1:
            ranges[-1][1] = partition
        else:
            ranges.append([partition, partition])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in ranges)


NO_LIMIT = (-1, 2**63 - 1)
"""How Kafka writes "never" and "as much as you like"."""
LARGEST = frozenset({str(2**63 - 1), "1.7976931348623157e+308"})
"""The same where a config's name does not tell its unit."""


def config_words(name: str, value: str) -> str:
    """``604800000`` of a ``.ms`` config → ``7 days``; ``1073741824`` of a ``.bytes`` one → ``1 GiB``; -1 → ``no limit``."""
    if value in LARGEST:
        return "no limit"
    if not value.lstrip("-").isdecimal():
        return value
    number = int(value)
    if name.endswith((".ms", ".bytes", ".messages")) and number in NO_LIMIT:
        return "no limit"
    if number > 0 and name.endswith(".ms"):
        return exact_duration(number)
    if number > 0 and name.endswith((".bytes", ".buffer.size")):
        return size(number)
    return value


def exact_duration(milliseconds: int) -> str:
    """The largest unit that divides it: 90000 → ``90 s``, 604800000 → ``7 d``."""
    for step, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if milliseconds % step == 0:
            return f"{milliseconds // step:,} {unit}"
    return f"{milliseconds:,} ms"
