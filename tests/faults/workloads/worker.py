"""What all clients of a workload have in common: options, a pace, when to stop, and telling how far they got.

A workload process runs several clients, each in a thread with a recorder of its own. It works until its standard input
ends, so it does not outlive who started it, then has everything delivered and ends with status 0. Twice a second it
prints ``done N``: how many writes were acknowledged and records read so far.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from pathlib import Path

import msgspec

from tests.faults.recorder import Recorder
from tests.faults.values import NUMBERS_PER_WRITER

MESSAGE_TIMEOUT_MS = 30_000
PROGRESS_SECONDS = 0.2


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """On the command line as JSON."""

    bootstrap: str
    directory: str
    topic: str
    partitions: int = 6
    seed: int = 0
    rate: float = 100.0
    """Records per second and writer."""
    size: int = 100
    first_writer: int = 0
    """Numbers of writers are unique over a run, so that values are."""
    sink: str = ""
    group: str = ""
    keys: int = 20
    session_ms: int = 6_000
    compression: str = "none"
    writers: int = 2
    readers: bool = True


class Client(threading.Thread):
    """One client with its history. ``work`` loops until ``stopping`` is set and leaves nothing unfinished."""

    def __init__(self, options: Options, name: str, number: int) -> None:
        super().__init__(name=name, daemon=True)
        self.options = options
        self.number = number
        self.done = 0
        self.failure = ""
        self.stopping = threading.Event()
        self.recorder = Recorder(Path(options.directory), name)
        self._value = (options.first_writer + number + 1) * NUMBERS_PER_WRITER
        self._due = time.monotonic()

    def work(self) -> None:
        raise AssertionError("a client has work")

    def run(self) -> None:
        try:
            self.work()
        except BaseException:  # noqa: BLE001 - told by the process, which then fails
            self.failure = traceback.format_exc()
        finally:
            self.recorder.close()

    def new_value(self) -> int:
        self._value += 1
        return self._value

    def wait_turn(self) -> float:
        """Seconds until the next record is due; 0 if it is, and then the one after it is due later."""
        now = time.monotonic()
        if now < self._due:
            return self._due - now
        # Whoever was held up does not catch up in a burst.
        self._due = max(self._due + 1.0 / self.options.rate, now - 0.1)
        return 0.0


def run_clients(clients: list[Client]) -> int:
    """Until standard input ends and everybody has finished. The status of the process."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        if ended.wait(PROGRESS_SECONDS) or any(client.failure for client in clients):
            for client in clients:
                client.stopping.set()
            ended.wait(0)
            for client in clients:
                client.join(PROGRESS_SECONDS)
        print("done", sum(client.done for client in clients), flush=True)
    for client in clients:
        if client.failure:
            print(client.name, client.failure, file=sys.stderr, flush=True)
    return 1 if any(client.failure for client in clients) else 0
