"""Three Apache Kafka brokers (KRaft, each broker and controller), with the same face as ``bench.cluster.OttlaCluster``.

Each gets what Kafka's own start scripts give it: G1 with their flags, and a heap of 1 GB. Topics of its own have three
replicas and a minimum of two in sync, as in production. Owns the processes and their directory.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Self

from bench.apache.class_path import environment
from bench.apache.server import HEAP, JVM_FLAGS, READY_SECONDS_MAX
from bench.cluster import BROKERS, RunningCluster
from bench.process import free_ports

STOP_SECONDS_MAX = 60
_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={home}/data-{node}
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms=0
"""


class ApacheCluster(RunningCluster):
    """``with ApacheCluster(**{"log.flush.interval.messages": "1"}) as cluster: …``; broker ids begin at 1."""

    name = "Kafka"

    def __init__(self, **properties: str) -> None:
        self._environment = environment()
        self.ports, controllers = free_ports(BROKERS), free_ports(BROKERS)
        self.home = Path(tempfile.mkdtemp(prefix="kafka-bench-"))
        self.started_seconds = 0.0
        self.processes = {}
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, start=1))
        for node, (port, controller) in enumerate(zip(self.ports, controllers, strict=True), start=1):
            text = _PROPERTIES.format(node=node, voters=voters, port=port, controller=controller, home=self.home)
            text += "".join(f"{name}={value}\n" for name, value in properties.items())
            self._config(node).write_text(text)

    def __enter__(self) -> Self:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        for node in range(1, BROKERS + 1):
            self._format(node, cluster_id)
        return super().__enter__()

    def _end_all(self) -> None:
        for process in self.processes.values():
            process.kill()  # a controller without a quorum would wait for it
            process.wait()

    def start_again(self, broker_id: int) -> None:
        """Returns when it accepts connections."""
        self.processes[broker_id].wait(timeout=STOP_SECONDS_MAX)
        self._spawn(broker_id)
        self._wait_ready(broker_id)

    def _config(self, node: int) -> Path:
        return self.home / f"server-{node}.properties"

    def _format(self, node: int, cluster_id: str) -> None:
        named = f"--cluster-id={cluster_id}"
        command = ["java", "kafka.tools.StorageTool", "format", named, "--config", str(self._config(node))]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Apache Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")

    def _spawn(self, broker_id: int) -> None:
        with (self.home / f"server-{broker_id}.log").open("ab") as log_file:
            self.processes[broker_id] = subprocess.Popen(
                ["java", *HEAP, *JVM_FLAGS, "kafka.Kafka", str(self._config(broker_id))],
                env=self._environment,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )

    def _wait_ready(self, broker_id: int) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.processes[broker_id].poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.ports[broker_id - 1]), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        log = (self.home / f"server-{broker_id}.log").read_text()[-2_000:]
        raise RuntimeError(f"Apache Kafka {broker_id} did not start:\n{log}")
