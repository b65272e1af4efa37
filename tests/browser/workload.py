"""A little traffic from real clients, for pictures: groups of which one reads too slowly and one not at all, transactions of
which one stays open, and a log of several days."""

from __future__ import annotations

import json
import os
import threading
import time
from types import TracebackType

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.client.blocking import Client

TOPICS = {"orders": (6, 3), "payments": (3, 3), "shipments": (1, 1), "ledger": (2, 2)}
"""Partitions and copies of each; of copies no more than there are brokers."""
ARCHIVE = "archive"
ARCHIVE_CONFIG = {"segment.bytes": str(2**20), "retention.ms": str(7 * 86_400_000), "retention.bytes": str(9 * 2**20)}
ARCHIVE_RECORDS = 160
ARCHIVE_RECORD_BYTES = 50_000
BURST = 12
PAUSE_SECONDS = 0.05


class Workload:
    """``with Workload(bootstrap): …`` writes orders and payments and reads them with ``billing`` and ``search-indexer``."""

    def __init__(self, bootstrap: str, *, brokers: int = 1) -> None:
        self._bootstrap = bootstrap
        self._brokers = brokers
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce),
            threading.Thread(target=self._consume, args=("billing", "billing-worker-1", 0.0)),
            threading.Thread(target=self._consume, args=("search-indexer", "indexer-1", 0.02)),
            threading.Thread(target=self._transact, args=("ledger-writer", 0, 0.5)),
            threading.Thread(target=self._transact, args=("ledger-closing", 1, 3600.0)),
            threading.Thread(target=self._consume, args=("ledger-audit", "auditor", 0.0, ("^led.*",), "consumer")),
        ]

    def __enter__(self) -> Workload:
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        created = admin.create_topics(
            [NewTopic(name, count, min(copies, self._brokers)) for name, (count, copies) in TOPICS.items()]
        )
        for future in created.values():
            future.result(10)
        admin.create_topics([NewTopic(ARCHIVE, 1, 1, config=ARCHIVE_CONFIG)])[ARCHIVE].result(10)
        with Client(self._bootstrap) as client:
            client.alter_client_metrics("all-clients", {"metrics": "org.apache.kafka.", "interval.ms": "5000"})
        self._fill_archive()
        for group in ("report-builder", "monthly-report"):
            self._commit_a_report(group)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _commit_a_report(self, group: str) -> None:
        """A group that committed once and has no members: what offset resets are for."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": group})
        consumer.commit(offsets=[TopicPartition("orders", number, 0) for number in range(6)], asynchronous=False)
        consumer.close()

    def _fill_archive(self) -> None:
        """Eight closed segments of the last days, for pages about the log on disk."""
        producer = Producer({"bootstrap.servers": self._bootstrap, "client.id": "archiver", "batch.num.messages": 1})
        now_ms = time.time_ns() // 1_000_000
        for number in range(ARCHIVE_RECORDS):
            age_ms = int(6.6 * 86_400_000 * (1 - number / ARCHIVE_RECORDS) ** 1.6)
            producer.produce(ARCHIVE, os.urandom(ARCHIVE_RECORD_BYTES), partition=0, timestamp=now_ms - age_ms)
            producer.poll(0)
        producer.flush(10)

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "client.id": "shop", "enable.idempotence": True})
        number = 0
        while not self._stop.wait(PAUSE_SECONDS):
            for _ in range(BURST):
                number += 1
                order = {"order": number, "customer": f"c-{number % 97}", "total_cents": number * 37 % 20_000}
                producer.produce("orders", json.dumps(order).encode(), key=str(number % 997).encode())
            producer.produce("payments", json.dumps({"order": number, "paid": True}).encode())
            producer.poll(0)
        producer.flush(5)

    def _transact(self, transactional_id: str, partition: int, open_seconds: float) -> None:
        """Ten records a transaction, which stays open for so long: readers of committed records wait behind it."""
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "client.id": transactional_id,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": 900_000,
            }
        )
        producer.init_transactions(20)
        while not self._stop.is_set():
            producer.begin_transaction()
            for number in range(10):
                producer.produce("ledger", json.dumps({"entry": number}).encode(), partition=partition)
            producer.flush(5)
            self._stop.wait(open_seconds)
            producer.commit_transaction(10)

    def _consume(
        self,
        group: str,
        client_id: str,
        pause_seconds: float,
        topics: tuple[str, ...] = ("orders", "payments"),
        protocol: str = "classic",
    ) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": group,
                "client.id": client_id,
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 1000,
            }
        )
        consumer.subscribe(list(topics))
        while not self._stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and pause_seconds:
                self._stop.wait(pause_seconds)
        consumer.close()
