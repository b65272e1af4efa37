"""The same requests to two brokers, and where their answers differ.

A story is a function that tells a ``Speaker`` what to ask, one labelled request after another. What each broker is free to choose
(ids, ports, times) is given the same names on both sides before the answers are laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from broker.errors import ErrorCode
from broker.protocol.messages import Message
from tests.support.wait import wait_until
from tests.support.wire import Wire

Answers = list[tuple[str, dict[str, object]]]
Story = Callable[["Speaker"], None]

_COMING_UP = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
)
_CHOSEN = frozenset(
    {
        "throttle_time",
        "host",
        "port",
        "cluster_id",
        "error_message",
        "batch_index_error_message",
        "documentation",
        "topic_id",
    }
)
"""Fields in which two brokers may differ: what they say in words among them."""
_KEYS = ("index", "partition_index", "partition", "name", "topic", "group_id", "transactional_id", "resource_name")
"""What tells the entries of an array apart: brokers answer them in any order."""


class Speaker:
    def __init__(self, port: int) -> None:
        self.answers: Answers = []
        self._port = port
        self._names: dict[object, str] = {}
        self.wire = Wire(port)

    def __enter__(self) -> Speaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wire.socket.close()

    def ask(self, label: str, key: int, version: int, message: object) -> Any:
        """One request, asked again while a coordinator is on its way; ``None`` if the broker ended the connection."""
        found: list[Any] = []

        def answered() -> bool:
            found[:] = [self.wire.call(key, version, message)]
            return not any(
                value in _COMING_UP for path, value in _flat(found[0]) if path.endswith("error_code") and value
            )

        try:
            wait_until(answered, f"an answer to {label}")
        except EOFError:
            self.wire = Wire(self._port)
            self.answers.append((label, {"connection": "ended by the broker"}))
            return None
        self.answers.append((label, dict(_flat(found[0]))))
        return found[0]

    def name(self, value: object, name: str) -> None:
        """Whenever this value is in an answer, in whatever step, it counts as ``name``."""
        self._names[value] = name

    def told(self) -> Answers:
        return [
            (label, {path: self._names.get(value, value) for path, value in fields.items()})
            for label, fields in self.answers
        ]


def differences(story: Story, port: int, other_port: int) -> dict[str, str]:
    """``step: field`` → both values, first that of ``port``."""
    sides = []
    for at in (port, other_port):
        with Speaker(at) as speaker:
            story(speaker)
            sides.append(speaker.told())
    ours, theirs = sides
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    found = {}
    for (label, here), (_, there) in zip(ours, theirs, strict=True):
        for path in sorted(here.keys() | there.keys()):
            pair = here.get(path, "absent"), there.get(path, "absent")
            if pair[0] != pair[1]:
                found[f"{label}: {path}"] = f"{pair[0]!r}, and there {pair[1]!r}"
    return found


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Message):
        for name in value.__slots__:
            if name not in _CHOSEN:
                yield from _flat(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        if not value:
            yield f"{path}[]", "empty"
        for index, entry in enumerate(value):
            yield from _flat(entry, f"{path}[{_key(entry, index)}]")
    elif path.endswith("error_code"):
        yield path, ErrorCode(value)
    else:
        yield path, value


def _key(entry: Any, index: int) -> object:
    slots = getattr(entry, "__slots__", ())
    return next((getattr(entry, name) for name in _KEYS if name in slots and getattr(entry, name) is not None), index)
