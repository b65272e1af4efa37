"""Starting, watching and ending members of consumer groups, each a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.wait import wait_until

REBALANCE_SECONDS_MAX = 40.0
_REPOSITORY = Path(__file__).resolve().parents[2]


class Member:
    def __init__(self, client: str, bootstrap: str, group: str, topic: str, **options: str) -> None:
        self.client = client
        self.assignments: list[list[int]] = []
        self.values: list[str] = []
        self.closed = False
        self._errors: list[str] = []
        arguments = [client, bootstrap, group, topic, json.dumps(options)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.group_member", *arguments],
            cwd=_REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def assignment(self) -> list[int] | None:
        return self.assignments[-1] if self.assignments else None

    @property
    def errors(self) -> str:
        return "".join(self._errors)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def leave(self) -> None:
        self._process.terminate()
        self._end()
        assert self.closed, f"{self.client} did not close:\n{self.errors}"

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def end(self) -> None:
        """Leave no process and no open pipe behind, whatever became of it."""
        if not self.ended:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(30)
        for reader in self._readers:
            reader.join(10)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if "assignment" in event:
                self.assignments.append(event["assignment"])
            self.values += event.get("values", [])
            self.closed = self.closed or "closed" in event

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)


class Group:
    """The members of one group on one topic; leaving the context leaves no process behind."""

    def __init__(self, bootstrap: str, name: str, topic: str) -> None:
        self.bootstrap, self.name, self.topic = bootstrap, name, topic
        self._members: list[Member] = []

    def join(self, client: str, **options: str) -> Member:
        member = Member(client, self.bootstrap, self.name, self.topic, **options)
        self._members.append(member)
        return member

    def wait_shared(self, members: list[Member], partitions: int) -> None:
        """Until the members have all partitions between them, evenly and without overlap."""

        def shared() -> bool:
            parts = [member.assignment or [] for member in members]
            sizes = {len(part) for part in parts}
            return sorted(itertools.chain(*parts)) == list(range(partitions)) and max(sizes) - min(sizes) <= 1

        try:
            wait_until(shared, "the partitions are shared", seconds=REBALANCE_SECONDS_MAX)
        except AssertionError as error:
            state = [(member.client, member.assignments, member.errors[-2_000:]) for member in members]
            raise AssertionError(f"{error}: {state}") from None

    def wait_read(self, expected: set[str], *, seconds: float = REBALANCE_SECONDS_MAX) -> None:
        """Until exactly these values were read by the members, present and past."""
        try:
            wait_until(lambda: set(self.values()) == expected, "everything is read", seconds=seconds)
        except AssertionError as error:
            read = self.values()
            wrong = sorted(expected.symmetric_difference(read))[:5]
            state = [
                (member.client, member.ended, member.assignments, member.errors[-2_000:]) for member in self._members
            ]
            raise AssertionError(f"{error}: {len(read)} of {len(expected)}, e.g. {wrong}: {state}") from None

    def values(self) -> list[str]:
        return [value for member in self._members for value in member.values]


@contextlib.contextmanager
def group_of(bootstrap: str, name: str, topic: str) -> Iterator[Group]:
    group = Group(bootstrap, name, topic)
    try:
        yield group
    finally:
        for member in group._members:
            member.end()


def produce(bootstrap: str, topic: str, values: list[str]) -> None:
    """Spread evenly over the topic's partitions."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    partitions = len(producer.list_topics(topic, timeout=10).topics[topic].partitions)
    for index, value in enumerate(values):
        producer.produce(topic, value, partition=index % partitions)
    assert producer.flush(30) == 0
