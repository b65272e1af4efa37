"""Offsets in a CSV file, as Kafka's tools export and read them: ``topic,partition,offset``.

With a group in front (``group,topic,partition,offset``) a file may hold the offsets of several groups.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from broker.types import Offset, TopicPartition

LINES_MAX = 1_000_000


def parse_offset_file(text: str, group_id: str) -> dict[TopicPartition, Offset]:
    """What the file says about ``group_id``. Raises ``ValueError`` naming the line."""
    found: dict[TopicPartition, Offset] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if number > LINES_MAX:
            raise ValueError(f"more than {LINES_MAX:,} lines")
        fields = [field.strip() for field in row]
        if not any(fields) or fields[0].startswith("#"):
            continue
        if len(fields) == 4:
            owner, *fields = fields
            if owner != group_id:
                continue
        if len(fields) != 3 or not fields[0] or not fields[1].isdecimal() or not fields[2].isdecimal():
            raise ValueError(f"line {number}: {','.join(row)!r} is not topic,partition,offset")
        partition = TopicPartition(fields[0], int(fields[1]))
        if partition in found:
            raise ValueError(f"line {number}: {partition} appears twice")
        found[partition] = int(fields[2])
    return found


def format_offset_file(offsets: Iterable[tuple[TopicPartition, Offset]]) -> str:
    return "".join(f"{topic},{partition},{offset}\n" for (topic, partition), offset in offsets)
