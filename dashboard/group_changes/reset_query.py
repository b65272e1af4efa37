"""What an offset reset is asked for: read from the URL and written as the command that does the same. Pure.

``?group=`` names the group; ``topic=`` (several), ``other=`` a topic it has not read yet, ``partitions=`` limits them when
there is one topic; ``to=`` is the strategy, with ``offset=``, ``shift=`` or ``time=`` and ``zone=``. Whatever is wrong is a
sentence in ``errors`` under the name of its field.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.http import QueryDict

from broker.client.offset_reset import ShiftBy, Strategy, ToEarliest, ToLatest, ToOffset, ToTime
from broker.types import TopicPartition
from dashboard.messages.query import OFFSET_MAX, read_time

STRATEGIES = {
    "earliest": ("Earliest", "Where each log starts: everything is read again."),
    "latest": ("Latest", "Where each log ends: what waits is skipped."),
    "time": ("A time", "The first record that is not older; the end where there is none."),
    "offset": ("An offset", "The same offset in every partition."),
    "shift": ("Shift by", "Forward by so many records, or back with a minus."),
}
PARTITIONS_MAX = 5_000
"""In one reset from a page; more is for the command line."""
TOPICS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetQuery:
    group_id: str
    topics: tuple[str, ...]
    partitions: tuple[int, ...]
    """Empty is all of them."""
    to: str
    strategy: Strategy | None
    """``None`` while something is wrong."""
    typed: Mapping[str, str]
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The query string of exactly this reset."""
        pairs = [("group", self.group_id), *(("topic", topic) for topic in self.topics)]
        return urlencode([*pairs, *((name, value) for name, value in self.typed.items() if name != "other")])

    def chosen(self, partition_counts: Mapping[str, int]) -> list[TopicPartition]:
        """Every partition the reset is about. A topic without a count has none."""
        return [
            TopicPartition(topic, partition)
            for topic in self.topics
            for partition in self.partitions or range(partition_counts.get(topic, 0))
        ]

    @property
    def command(self) -> str:
        """What does the same from a shell; it shows the plan unless ``--execute`` is added."""
        words = ["manage.py", "groups", "reset-offsets", self.group_id]
        for topic in self.topics:
            words += ["--topic", f"{topic}:{','.join(map(str, self.partitions))}" if self.partitions else topic]
        match self.strategy:
            case ToEarliest():
                words.append("--to-earliest")
            case ToLatest():
                words.append("--to-latest")
            case ToOffset(offset):
                words += ["--to-offset", str(offset)]
            case ShiftBy(records):
                words.append(f"--shift-by={records}")
            case ToTime(at_ms):
                moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
                words += ["--to-datetime", moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")]
        return shlex.join(words)


def read_reset(given: QueryDict, *, default_zone: str) -> ResetQuery:
    errors: dict[str, str] = {}
    typed = {
        name: value
        for name in ("other", "partitions", "to", "offset", "shift", "time", "zone")
        if (value := (given.get(name) or "").strip()[:200])
    }
    topics = tuple(dict.fromkeys(name for name in (*given.getlist("topic"), typed.get("other", "")) if name))
    if not topics:
        errors["topic"] = "Choose at least one topic."
    elif len(topics) > TOPICS_MAX:
        errors["topic"] = f"At most {TOPICS_MAX} topics at once; the command line takes more."
    to = typed.get("to", "")
    if to not in STRATEGIES:
        errors["to"] = "Choose where the group goes on."
    partitions = _partitions(typed.get("partitions", ""), topics, errors)
    strategy = _strategy(to, typed, default_zone, errors)
    return ResetQuery(
        group_id=given.get("group", ""),
        topics=topics[:TOPICS_MAX],
        partitions=partitions,
        to=to,
        strategy=None if errors else strategy,
        typed=typed,
        errors=errors,
    )


def _strategy(to: str, typed: Mapping[str, str], default_zone: str, errors: dict[str, str]) -> Strategy | None:
    match to:
        case "earliest":
            return ToEarliest()
        case "latest":
            return ToLatest()
        case "offset":
            offset = _number(typed.get("offset", ""))
            if offset is None or offset < 0:
                errors["offset"] = "Write the offset to go on at: a whole number from 0."
                return None
            return ToOffset(offset)
        case "shift":
            records = _number(typed.get("shift", ""))
            if not records:
                errors["shift"] = "Write by how many records, such as 100 or -100."
                return None
            return ShiftBy(records)
        case "time":
            at_ms = read_time(typed, default_zone, errors)
            return None if at_ms is None else ToTime(at_ms)
        case _:
            return None


def _number(text: str) -> int | None:
    digits = text.replace(",", "").replace("_", "").replace("−", "-").removeprefix("+")
    if not digits.removeprefix("-").isdecimal() or len(digits) > 19 or abs(int(digits)) > OFFSET_MAX:
        return None
    return int(digits)


def _partitions(text: str, topics: Sequence[str], errors: dict[str, str]) -> tuple[int, ...]:
    """``0-3, 7``. Only with one topic: the same numbers of several are rarely what is meant."""
    if not text:
        return ()
    if len(topics) > 1:
        errors["partitions"] = "Partitions can be chosen when there is one topic."
        return ()
    found: set[int] = set()
    for part in text.replace("–", "-").split(","):
        low, dash, high = part.strip().partition("-")
        high = high if dash else low
        if not (low.isdecimal() and high.isdecimal()) or len(low) > 6 or len(high) > 6 or int(low) > int(high):
            errors["partitions"] = "Write partitions such as 0-3, 7."
            return ()
        found.update(range(int(low), min(int(high), int(low) + PARTITIONS_MAX) + 1))
    return tuple(sorted(found))


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return grouped
