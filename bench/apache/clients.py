"""Apache's own performance programs, run as they come and read from what they print."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.apache.class_path import environment, java
from bench.raw import Throughput

SECONDS_MAX = 300
_PRODUCED = re.compile(r"(\d+) records sent, ([\d.,]+) records/sec \(([\d.,]+) MB/sec\)")


def produce(bootstrap: str, topic: str, *, count: int, record_bytes: int, acks: str) -> Throughput:
    """``ProducerPerformance`` with the Java client's defaults. Raises ``RuntimeError`` with what it said."""
    output = _run(
        "org.apache.kafka.tools.ProducerPerformance",
        *("--topic", topic, "--num-records", str(count), "--record-size", str(record_bytes), "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={bootstrap}", f"acks={acks}"),
    )
    summaries = _PRODUCED.findall(output)
    if not summaries:
        raise RuntimeError(f"ProducerPerformance told no result:\n{output[-1_000:]}")
    records_per_second = float(summaries[-1][1].replace(",", ""))
    return _throughput(count, record_bytes, count / records_per_second)


def consume(bootstrap: str, topic: str, *, count: int, record_bytes: int) -> Throughput:
    """``ConsumerPerformance``; its own start and its group's are left out, as it reports them."""
    with TemporaryDirectory(prefix="consumer-perf-") as directory:
        config = Path(directory) / "consumer.properties"
        config.write_text("auto.offset.reset=earliest\n")
        output = _run(
            "org.apache.kafka.tools.ConsumerPerformance",
            *("--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(count)),
            *("--command-config", str(config), "--timeout", "60000"),
        )
    lines = [line.split(", ") for line in output.splitlines() if line.count(", ") >= 8]
    names, values = lines[-2], lines[-1]
    found = dict(zip(names, values, strict=True))
    if int(found["data.consumed.in.nMsg"]) < count:
        raise RuntimeError(f"ConsumerPerformance read too little:\n{output[-1_000:]}")
    return _throughput(count, record_bytes, int(found["fetch.time.ms"]) / 1_000)


def _run(main_class: str, *arguments: str) -> str:
    command = java(main_class, *arguments, heap_mb=512)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode:
        raise RuntimeError(f"{main_class} failed:\n{(done.stdout + done.stderr)[-2_000:]}")
    return done.stdout


def _throughput(count: int, record_bytes: int, seconds: float) -> Throughput:
    return Throughput(records=count, megabytes=count * record_bytes / 1e6, seconds=seconds, requests=0)
