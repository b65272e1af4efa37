"""One group of members from different client libraries, in both group protocols: they share the partitions."""

from __future__ import annotations

import subprocess

import pytest
from confluent_kafka import Producer

from tests.interop import apache, go_program
from tests.interop.apache import said

pytestmark = [pytest.mark.interop, pytest.mark.timeout(go_program.BUILD_SECONDS_MAX + 60)]
PARTITIONS = 6
RECORDS = 600
SECONDS = {"classic": "7", "consumer": "14"}
"""In the new protocol partitions change hands with heartbeats, which come every five seconds."""


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_java_and_go_share_a_group(broker, new_topic, protocol) -> None:
    apache.require_apache_kafka()
    go_program.require_go()
    topic = new_topic(partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(RECORDS):
        producer.produce(topic, b"value", partition=number % PARTITIONS)
    assert producer.flush(30) == 0

    arguments = ("member", broker.bootstrap, topic, f"{topic}-group", protocol, SECONDS[protocol])
    members = [apache.start_scenario(*arguments), go_program.start_scenario(*arguments)]
    java, go = (finished(member) for member in members)

    assert int(java["read"]) + int(go["read"]) >= RECORDS
    assert java["most owned"] != "0"
    assert go["most owned"] != "0"


def finished(member: subprocess.Popen[str]) -> dict[str, str]:
    output, _ = member.communicate(timeout=60)
    assert member.returncode == 0, output
    owned = [int(line.split("=")[1]) for line in output.splitlines() if line.startswith("owned=")]
    return said(output) | {"most owned": str(max(owned, default=0))}
