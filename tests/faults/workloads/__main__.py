"""``python -m tests.faults.workloads NAME OPTIONS``: one workload's clients of one library as a process."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from collections.abc import Callable

import msgspec

from tests.faults.checker.history import READ_COMMITTED
from tests.faults.workloads import aiokafka_clients, confluent_clients, copiers
from tests.faults.workloads.worker import Client, Options, run_clients

COPIERS = 3
MEMBERS = 3


def confluent(options: Options) -> list[Client]:
    """Half of W1: idempotent writers, and a reader."""
    writers = [confluent_clients.Writer(options, number) for number in range(options.writers)]
    return [*writers, confluent_clients.Reader(options, options.first_writer)] if options.readers else [*writers]


def aiokafka(options: Options) -> list[Client]:
    """The other half."""
    writers = [aiokafka_clients.Writer(options, number) for number in range(options.writers)]
    return [*writers, aiokafka_clients.Reader(options, options.first_writer)] if options.readers else [*writers]


def copy(options: Options) -> list[Client]:
    """W2: three transactional copiers, and a reader of the sink that must see only what was committed."""
    sink = msgspec.structs.replace(options, topic=options.sink)
    return [
        *(copiers.Copier(options, number, COPIERS) for number in range(COPIERS)),
        confluent_clients.Reader(sink, options.first_writer, READ_COMMITTED),
    ]


def confluent_group(options: Options) -> list[Client]:
    """Half of W3: members that come and go."""
    return [confluent_clients.Member(options, number) for number in range(MEMBERS)]


def aiokafka_group(options: Options) -> list[Client]:
    """The other half."""
    return [aiokafka_clients.Member(options, number) for number in range(MEMBERS)]


def keyed(options: Options) -> list[Client]:
    """W4: writers of few keys."""
    return [confluent_clients.KeyedWriter(options, number) for number in range(options.writers)]


WORKLOADS: dict[str, Callable[[Options], list[Client]]] = {
    "confluent": confluent,
    "aiokafka": aiokafka,
    "copy": copy,
    "confluent-group": confluent_group,
    "aiokafka-group": aiokafka_group,
    "keyed": keyed,
}

if __name__ == "__main__":
    # What clients complain about while brokers die is no news; where one hangs is, and the harness asks for it.
    logging.disable(logging.CRITICAL)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sys.exit(run_clients(WORKLOADS[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Options))))
