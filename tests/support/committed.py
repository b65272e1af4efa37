"""What readers of committed data see of a partition, once no transaction is open in it."""

from __future__ import annotations

from broker.client.blocking import Client
from tests.support.wait import wait_until


def settled_end(client: Client, topic: str, partition: int = 0) -> int:
    """The log's end, once nothing is open below it. A commit is answered before its markers are written."""

    def ends() -> tuple[int, int]:
        stable, end = (
            client.list_offsets(topic, {partition: -1}, read_committed=stable)[partition].offset
            for stable in (True, False)
        )
        return stable, end

    wait_until(lambda: len(set(ends())) == 1, "the last stable offset reaches the end")
    return ends()[1]


def committed(client: Client, topic: str, partition: int = 0) -> list[bytes | None]:
    end, offset = settled_end(client, topic, partition), 0
    values: list[bytes | None] = []
    while offset < end:
        fetched = client.fetch(topic, partition, offset, read_committed=True, max_wait_ms=10)
        values += [record.value for record in fetched.records]
        offset = fetched.next_offset
    return values
