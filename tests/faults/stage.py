"""A run from its beginning to its verdict: brokers, loads, faults, healing, drain, dump, checker.

``with Stage(tmp_path, cluster) as stage:`` then topics, loads and faults in the order of the test's sentence, and
``stage.judge()`` at the end, which raises with the whole report if any rule has something to say.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from tests.faults.checker.availability import HEALED
from tests.faults.checker.check import DUMP_FILE, check_directory
from tests.faults.checker.dump import write_dump
from tests.faults.checker.history import READ_COMMITTED, READ_UNCOMMITTED, read_events
from tests.faults.checker.run import Expectations
from tests.faults.checker.verdict import Report
from tests.faults.load import Load
from tests.faults.observer import Observer
from tests.faults.recorder import Recorder
from tests.faults.replica_dump import read_replicas
from tests.faults.workloads.confluent_clients import QUICK, seen_in
from tests.faults.workloads.worker import Options
from tests.support.cluster_process import ClusterProcess
from tests.support.committed import settled_end
from tests.support.wait import wait_until

IN_SYNC_SECONDS_MAX = 90.0
DRAIN_SECONDS_MAX = 60.0
PROGRESS_SECONDS_MAX = 60.0
HISTORY = "history"


class Stage:
    def __init__(
        self,
        directory: Path,
        cluster: ClusterProcess,
        *,
        seed: int = 1,
        machine: Sequence[str] = (),
        **expectations: Any,
    ) -> None:
        """``machine``: the command that runs clients elsewhere; by default they run here."""
        self.directory = directory / HISTORY
        self.directory.mkdir(parents=True)
        self.cluster = cluster
        self.seed = seed
        self.expectations = Expectations(**expectations)
        self.topics: dict[str, int] = {}
        self.loads: list[Load] = []
        self._nemesis = Recorder(self.directory, "nemesis")
        self._writers = 0
        self._machine = machine
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *failure: object) -> None:
        for load in self.loads:
            load.kill()
        self._closing.close()
        self._nemesis.close()

    # Setting up --------------------------------------------------------------------------------------

    def topic(self, name: str, partitions: int = 6, **configs: str) -> str:
        """``segment_bytes="65536"`` is ``segment.bytes``."""
        replicas = len(self.cluster.brokers)
        with Client(self.cluster.bootstrap) as client:
            client.create_topic(
                name, partitions, replicas, {key.replace("_", "."): value for key, value in configs.items()}
            )
        self.topics[name] = partitions
        return name

    def observe(self) -> None:
        """Ask the brokers for their watermarks from now on."""
        brokers = {broker: (process.host, process.port) for broker, process in self.cluster.brokers.items()}
        self._closing.enter_context(Observer(self.directory, brokers, self.topics))

    def load(self, workload: str, topic: str, **options: Any) -> Load:
        wanted = Options(
            bootstrap=self.cluster.bootstrap,
            directory=str(self.directory),
            topic=topic,
            partitions=self.topics[topic],
            seed=self.seed,
            first_writer=self._writers,
            **options,
        )
        self._writers += 10
        load = Load(workload, wanted, prefix=self._machine)
        self.loads.append(load)
        return load

    def writes(self, topic: str, **options: Any) -> None:
        """W1: four idempotent writers with acks=all and assigned readers of both isolations, of two libraries."""
        self.load("confluent", topic, **options)
        self.load("aiokafka", topic, **options)

    def copies(self, source: str, sink: str) -> None:
        """W2: transactional copying of a source that others write."""
        self.load("copy", source, sink=sink, group="copy")
        self.expect(copies=((source, sink),))

    def group(self, topic: str, name: str = "group", *, session_ms: int = 6_000) -> None:
        """W3: six members of two libraries that come and go."""
        self.load("confluent-group", topic, group=name, session_ms=session_ms)
        self.load("aiokafka-group", topic, group=name, session_ms=session_ms)

    def everyday_load(self, topic: str) -> None:
        """Writers, readers and a group that reads everything, all at work, and watched."""
        self.observe()
        self.writes(topic)
        self.group(topic)
        self.expect(drained=(("group", topic),))
        self.wait_progress(50)

    def expect(self, **expectations: Any) -> None:
        self.expectations = dataclasses.replace(self.expectations, **expectations)

    # The story ---------------------------------------------------------------------------------------

    def wait_progress(self, records: int = 100, *, seconds: float = PROGRESS_SECONDS_MAX) -> None:
        """Every load that runs gets so much further."""
        goals = [(load, load.done + records) for load in self.loads if load.running]
        assert goals, "no load is running"
        for load, goal in goals:
            what = f"{load.workload} gets on by {records}"
            wait_until(lambda load=load, goal=goal: load.done >= goal or not load.running, what, seconds=seconds)  # type: ignore[misc]
            assert load.running, f"{load.workload} ended by itself:\n{load.output}"

    def acknowledged(self) -> int:
        """Writes whose acknowledgement has been recorded so far."""
        return sum(
            1
            for path in self.directory.glob("*writer*.jsonl")
            for event in read_events(path)
            if event.f == "send" and event.phase == "ok"
        )

    @contextlib.contextmanager
    def fault(self, what: str) -> Iterator[None]:
        """Something is broken within, and healed at the end: from there on the limits of progress count."""
        index = self._nemesis.invoke("nemesis", what=what)
        try:
            yield
        finally:
            self._nemesis.complete(index, "nemesis", "ok", what=what)
        self._nemesis.note("nemesis", invoked_ns=time.monotonic_ns(), what=HEALED)

    def let_it_last(self, seconds: float) -> None:
        """For faults that consist of nothing but their length."""
        threading.Event().wait(seconds)

    # The end -----------------------------------------------------------------------------------------

    def judge(self) -> Report:
        report = self.report()
        assert not report.failures, report.text()
        assert report.figures["writes acknowledged"] > 0, "nothing was written: there is nothing to judge"
        return report

    def report(self) -> Report:
        """Stop the loads and the brokers in order, read everything, and check it."""
        groups = [load for load in self.loads if load.workload.endswith("group")]
        copiers = [load for load in self.loads if load.workload == "copy"]
        writers = [load for load in self.loads if load not in groups and load not in copiers]
        _finish(writers)  # their last records may take as long as their client's patience
        _finish(copiers)
        for group, topic in self.expectations.drained:
            wait_until(
                lambda group=group, topic=topic: self._is_drained(group, topic), f"{group} has read {topic}", seconds=60
            )  # type: ignore[misc]
        _finish(groups)
        for topic, partitions in self.topics.items():
            for index in range(partitions):
                self.cluster.wait_isr(topic, index, seconds=IN_SYNC_SECONDS_MAX)
        for topic, partitions in self.topics.items():
            for isolation in (READ_UNCOMMITTED, READ_COMMITTED):
                self._drain(topic, partitions, isolation)
        return self.report_of_files()

    def report_of_files(self) -> Report:
        """Stop the brokers and check what was recorded against the files alone, whatever state they are in."""
        self._closing.close()
        for broker, process in self.cluster.brokers.items():
            if process.alive:
                self.cluster.stop(broker)
        write_dump(
            self.directory / DUMP_FILE,
            (
                replica
                for broker, process in self.cluster.brokers.items()
                for replica in read_replicas(broker, process.data_directory, self.topics)
            ),
        )
        report = check_directory(self.directory, self.expectations)
        (self.directory / "report.txt").write_text(report.text())
        return report

    def _is_drained(self, group: str, topic: str) -> bool:
        with Client(self.cluster.bootstrap) as client:
            try:
                committed = {one.partition: one.offset for one in client.group_offsets(group) if one.topic == topic}
                ends = client.list_offsets(topic, dict.fromkeys(range(self.topics[topic]), -1))
            except (KafkaError, ClientConnectionError):
                return False
        return all(committed.get(index, 0) >= end.offset for index, end in ends.items())

    def _drain(self, topic: str, partitions: int, isolation: str) -> None:
        """Read everything from the beginning with a client that has seen nothing yet."""
        recorder = Recorder(self.directory, f"drain-{topic}-{isolation}")
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.bootstrap,
                "group.id": "drain",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                **QUICK,
            }
        )
        places = [TopicPartition(topic, index, 0) for index in range(partitions)]
        recorder.note("assign", invoked_ns=time.monotonic_ns(), offsets={f"{topic}-{p.partition}": 0 for p in places})
        consumer.assign(places)
        try:
            with Client(self.cluster.bootstrap) as client:
                for index in range(partitions):
                    settled_end(client, topic, index)
            ended: set[int] = set()

            def at_the_end() -> bool:
                invoked_ns = time.monotonic_ns()
                messages = consumer.consume(2_000, timeout=0.1)
                polls = seen_in(messages)
                if polls:
                    recorder.note("poll", invoked_ns=invoked_ns, isolation=isolation, polls=polls)
                for message in messages:
                    error = message.error()
                    if error is not None and error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                return len(ended) == partitions

            wait_until(at_the_end, f"{topic} is read to its end", seconds=DRAIN_SECONDS_MAX)
        finally:
            consumer.close()
            recorder.close()


def _finish(loads: list[Load]) -> None:
    for load in loads:
        load.ask_to_finish()
    for load in loads:
        load.finish()
