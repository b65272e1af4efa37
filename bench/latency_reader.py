"""The reading half of an end-to-end measurement, in a process of its own: `python -m bench.latency_reader …`.

Two halves in one Python process would take turns on its lock and measure that. Prints ``warm`` when the first warm-up
record has arrived, then one JSON line with the latencies in milliseconds. Clocks are CLOCK_MONOTONIC, one per machine.
"""

from __future__ import annotations

import json
import struct
import sys
import time

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

STAMP = struct.Struct(">d")
WARM_UP = 0.0
"""The stamp of a record that is not measured."""
SILENCE_SECONDS_MAX = 5.0


def main(bootstrap: str, topic: str, expected: int, partitions: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-latency", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, index, OFFSET_END) for index in range(partitions)])
    latencies: list[float] = []
    warm = False
    heard = time.monotonic()
    while len(latencies) < expected and (not warm or time.monotonic() - heard < SILENCE_SECONDS_MAX):
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        heard = time.monotonic()
        (sent,) = STAMP.unpack_from(message.value())
        if sent != WARM_UP:
            latencies.append((heard - sent) * 1e3)
        elif not warm:
            warm = True
            print("warm", flush=True)
    consumer.close()
    print(json.dumps(sorted(latencies)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
