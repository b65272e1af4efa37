"""Durations and sizes as people write them: ``7 d``, ``1 GiB``. Pure; the inverse pair of what the forms show.

``parse_*`` accepts a plain number as the raw value. ``show_*`` is exact: it uses the largest unit that divides the
value without remainder, so that reading it back gives the same number.
"""

from __future__ import annotations

import re

SECOND = 1000
DURATION_UNITS = {
    "w": 7 * 24 * 3600 * SECOND,
    "d": 24 * 3600 * SECOND,
    "h": 3600 * SECOND,
    "min": 60 * SECOND,
    "s": SECOND,
    "ms": 1,
}
DURATION_WORDS = {
    "week": "w", "weeks": "w",
    "day": "d", "days": "d",
    "hour": "h", "hours": "h",
    "minute": "min", "minutes": "min", "m": "min",
    "second": "s", "seconds": "s", "sec": "s",
}  # fmt: skip
SIZE_UNITS = {"tib": 1024**4, "gib": 1024**3, "mib": 1024**2, "kib": 1024, "b": 1}
SIZE_WORDS = {"bytes": "b", "byte": "b", "k": "kib", "m": "mib", "g": "gib", "t": "tib"}
SIZE_NAMES = {"tib": "TiB", "gib": "GiB", "mib": "MiB", "kib": "KiB", "b": "B"}
UNLIMITED = "no limit"
LONG_MAX = 2**63 - 1

_NUMBER_WITH_UNIT = re.compile(r"\s*([+-]?[0-9]{1,19}(?:\.[0-9]{1,6})?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_duration_ms(text: str) -> int:
    """Milliseconds. ``no limit`` is -1. Raises ``ValueError`` with a sentence for the person."""
    return _parse(text, DURATION_UNITS, DURATION_WORDS, "a time such as 7 d, 12 h, 30 min, 45 s or 500 ms")


def parse_size_bytes(text: str) -> int:
    """Bytes. ``no limit`` is -1. Raises ``ValueError`` with a sentence for the person."""
    return _parse(text, SIZE_UNITS, SIZE_WORDS, "a size such as 1 GiB, 512 MiB, 64 KiB or 1048576")


def _parse(text: str, units: dict[str, int], words: dict[str, str], expected: str) -> int:
    if text.strip().lower() == UNLIMITED:
        return -1
    match = _NUMBER_WITH_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(f"Write {expected}.")
    number, unit = match[1], match[2].lower()
    if not unit:
        if "." in number:
            raise ValueError(f"Write {expected}.")
        return int(number)
    factor = units.get(words.get(unit, unit))
    if factor is None:
        raise ValueError(f"“{match[2]}” is not a unit here. Write {expected}.")
    whole, _, fraction = number.partition(".")
    scaled = int(whole + fraction) * factor
    value, remainder = divmod(scaled, 10 ** len(fraction))
    if remainder:
        raise ValueError(f"{text.strip()} is not a whole number of the smallest unit. Write {expected}.")
    return value


def show_duration_ms(value: int) -> str:
    return _show(value, DURATION_UNITS, {})


def show_size_bytes(value: int) -> str:
    return _show(value, SIZE_UNITS, SIZE_NAMES)


def _show(value: int, units: dict[str, int], names: dict[str, str]) -> str:
    if value == -1 or value == LONG_MAX:
        return UNLIMITED
    if value < 0:  # -2 and the like: a word of the config's own, no amount.
        return str(value)
    smallest = list(units)[-1]
    if value == 0:
        return f"0 {names.get(smallest, smallest)}"
    # Weeks can be written, but nobody reads "1 w" where Kafka's documentation says 7 days.
    unit = next(unit for unit, factor in units.items() if value % factor == 0 and unit != "w")
    return f"{value // units[unit]:,} {names.get(unit, unit)}".replace(",", "")
