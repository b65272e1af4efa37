"""One Apache Kafka broker (KRaft, combined controller) under test, with the same face as ``bench.broker.BrokerUnderTest``.

It gets what its own start scripts give it: G1 with their flags, and a heap of 1 GB. Replication factors of its internal
topics are 1, for one broker can do no more; nothing else is tuned. Owns the process and its directory.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType

from bench.apache.class_path import environment
from bench.process import cpu_seconds, free_ports, rss_mb

READY_SECONDS_MAX = 60
HEAP = ("-Xmx1G", "-Xms1G")
JVM_FLAGS = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
)
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={home}/data
num.network.threads=3
num.io.threads=8
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class ApacheKafka:
    """``with ApacheKafka(**{"log.flush.interval.messages": "1"}) as kafka: …``. Raises ``NoApacheKafka``."""

    name = "Kafka"

    def __init__(self, **properties: str) -> None:
        self._environment = environment()
        self.port, self._controller_port = free_ports(2)
        self.home = Path(tempfile.mkdtemp(prefix="kafka-bench-"))
        self.started_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        text = _PROPERTIES.format(port=self.port, controller=self._controller_port, home=self.home)
        self._config = self.home / "server.properties"
        self._config.write_text(text + "".join(f"{name}={value}\n" for name, value in properties.items()))

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> ApacheKafka:
        self._format()
        began = time.monotonic()
        with (self.home / "server.log").open("wb") as log_file:
            self._process = subprocess.Popen(
                ["java", *HEAP, *JVM_FLAGS, "kafka.Kafka", str(self._config)],
                env=self._environment,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        while time.monotonic() - began < READY_SECONDS_MAX:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.02)
                continue
            self.started_seconds = time.monotonic() - began
            return self
        log = (self.home / "server.log").read_text()[-2_000:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"Apache Kafka did not start:\n{log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def cpu_seconds(self) -> float:
        assert self._process is not None
        return cpu_seconds(self._process.pid)

    def rss_mb(self) -> float:
        assert self._process is not None
        return rss_mb(self._process.pid)

    def _format(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # In one word: an id may begin with a hyphen, which would pass for another option.
        named = f"--cluster-id={cluster_id}"
        command = ["java", "kafka.tools.StorageTool", "format", named, "--config", str(self._config)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Apache Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")
