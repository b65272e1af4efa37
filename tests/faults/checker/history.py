"""The history of a run: what every process tried, and what came of it.

Owns the line format of history files and the pairing of invocations with completions. Each recorder (a thread or a
process with one client) writes a file of its own, one JSON object a line; nothing is shared between recorders but the
monotonic clock of the machine.

An operation has one of three outcomes. ``ok``: it happened, and what it reports is true. ``fail``: it certainly did
not happen. ``info``: nobody knows, also when its process died before a completion was written; a process that got an
``info`` for a write is retired and replaced under another name, since its client may still be retrying.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

UNKNOWN = -1
TOMBSTONE = 0
"""The value of a record without one."""
DAMAGED = -1
"""Stands for bytes that are not what anybody sent: the hash inside did not match."""
READ_COMMITTED, READ_UNCOMMITTED = "read_committed", "read_uncommitted"


class Sent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One record that was written, or should have been."""

    key: str
    """``topic-partition``: what the literature calls a key is a partition here."""
    value: int
    """Unique over the whole run."""
    offset: int = UNKNOWN
    record: str = ""
    """The record's own key, in compacted topics."""
    source: int = 0
    """The value this one is a copy of, in pipelines."""


class Seen(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One record that was read."""

    offset: int
    value: int
    record: str = ""


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One line. ``index`` numbers the operations of a process and pairs ``invoke`` with what completes it."""

    process: str
    index: int
    f: str
    """send, txn, poll, assign, commit, committed, observe or nemesis."""
    phase: str
    """invoke, ok, fail or info."""
    at_ns: int
    wall_ms: int = 0
    sends: list[Sent] = []
    polls: dict[str, list[Seen]] = {}
    offsets: dict[str, int] = {}
    """Offsets committed for a group (commit), found (committed), or begun at (assign), by partition."""
    isolation: str = ""
    idempotent: bool = True
    group: str = ""
    generation: int = UNKNOWN
    key: str = ""
    """The partition an ``observe`` is about."""
    broker: int = UNKNOWN
    leader_epoch: int = UNKNOWN
    high_watermark: int = UNKNOWN
    last_stable: int = UNKNOWN
    log_start: int = UNKNOWN
    error: str = ""
    what: str = ""
    """Of a nemesis: the fault, or ``healed``."""


class Operation(msgspec.Struct, kw_only=True, gc=False):
    """An invocation and its completion as one value."""

    process: str
    index: int
    f: str
    outcome: str
    invoked_ns: int
    completed_ns: int
    """Of an operation that never completed: the end of the history."""
    sends: list[Sent]
    polls: dict[str, list[Seen]]
    about: Event
    """The completion, else the invocation: for the fields that few operations have."""


class Unpaired(Exception):
    """A history that no recorder writes: two completions, or one without an invocation."""


_EVENTS = msgspec.json.Decoder(Event)
_ENCODE = msgspec.json.Encoder().encode


def encode(event: Event) -> bytes:
    return _ENCODE(event) + b"\n"


def read_events(path: Path) -> Iterator[Event]:
    """The events of one file. Its last line may be cut off: the recorder was killed."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    decode = _EVENTS.decode
    for line in whole.splitlines():
        yield decode(line)


def read_directory(directory: Path) -> Iterator[Event]:
    for path in sorted(directory.glob("*.jsonl")):
        yield from read_events(path)


def pair(events: Iterable[Event]) -> list[Operation]:
    """Operations in the order in which they were invoked. Events of one process are in order; processes are not."""
    waiting: dict[tuple[str, int], Event] = {}
    operations: list[Operation] = []
    last_ns = 0
    for event in events:
        last_ns = max(last_ns, event.at_ns)
        identity = (event.process, event.index)
        if event.phase == "invoke":
            if identity in waiting:
                raise Unpaired(f"{identity} was invoked twice")
            waiting[identity] = event
            continue
        invocation = waiting.pop(identity, None)
        if invocation is None:
            raise Unpaired(f"{identity} completed without an invocation, or twice")
        operations.append(_operation(invocation, event, event.phase, event.at_ns))
    operations += [_operation(event, event, "info", last_ns) for event in waiting.values()]
    operations.sort(key=lambda operation: operation.invoked_ns)
    return operations


def _operation(invocation: Event, completion: Event, outcome: str, completed_ns: int) -> Operation:
    return Operation(
        process=invocation.process,
        index=invocation.index,
        f=invocation.f,
        outcome=outcome,
        invoked_ns=invocation.at_ns,
        completed_ns=completed_ns,
        # A completion that knows no more than its invocation does not repeat it.
        sends=completion.sends or invocation.sends,
        polls=completion.polls,
        about=completion,
    )
