"""Good requests with a few bad bytes: answered or closed, and what was stored before stays readable."""

from __future__ import annotations

import random
import socket
import struct

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.topics import batch, create_topic, fetch, fetch_request, produce, produce_request, topic_id_of
from tests.support.wire import Wire, request_frame

pytestmark = pytest.mark.usefixtures("survives")

MUTANTS = 150


def requests(topic: str, topic_id: bytes) -> list[tuple[ApiKey, int, object]]:
    offsets = m.ListOffsetsRequest
    entry = offsets.ListOffsetsPartition(partition_index=0, timestamp=5)
    records = batch(b"m" * 40, b"n" * 40)
    return [
        *[(ApiKey.PRODUCE, version, produce_request({(topic, 0): records}, acks=1)) for version in (3, 8, 9, 12)],
        (ApiKey.PRODUCE, 13, produce_request({(topic_id, 0): records}, acks=-1)),
        *[(ApiKey.FETCH, version, fetch_request(topic)) for version in (4, 7, 11, 12)],
        (ApiKey.FETCH, 18, fetch_request(topic_id)),
        (
            ApiKey.LIST_OFFSETS,
            11,
            offsets(replica_id=-1, topics=[offsets.ListOffsetsTopic(name=topic, partitions=[entry])]),
        ),
        (ApiKey.METADATA, 13, m.MetadataRequest(topics=None)),
    ]


def mutate(frame: bytes, dice: random.Random) -> bytes:
    """Keep the length and what kind of request it is; anything else may change."""
    body = bytearray(frame[4:])
    for _ in range(dice.randrange(1, 4)):
        action = dice.randrange(4)
        at = dice.randrange(8, len(body))
        if action == 0:
            body[at] ^= 1 << dice.randrange(8)
        elif action == 1:
            body[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0"])
        elif action == 2:
            del body[at : at + dice.randrange(1, 9)]
            if len(body) < 12:
                body += bytes(12 - len(body))
        else:
            body[at:at] = dice.randbytes(dice.randrange(1, 9))
    return struct.pack(">i", len(body)) + bytes(body)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_requests_do_no_harm(victim, seed) -> None:
    dice = random.Random(seed)
    with Wire(victim.port) as wire:
        topic = create_topic(wire)
        topic_id = topic_id_of(wire, topic)
        produce(wire, topic, batch(b"before"))
    goods = [request_frame(*request) for request in requests(topic, topic_id)]
    for _ in range(MUTANTS):
        with Wire(victim.port) as wire:
            wire.send(mutate(dice.choice(goods), dice))
            wire.socket.shutdown(socket.SHUT_WR)
            while wire.socket.recv(1 << 16):
                pass
    with Wire(victim.port) as wire:
        assert produce(wire, topic, batch(b"after")).error_code == 0
        stored = [record.value for record in iter_records(fetch(wire, topic).records)]
    assert (stored[0], stored[-1]) == (b"before", b"after")
