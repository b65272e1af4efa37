"""Trap 3: from an API's first flexible version on, headers have tags and lengths are one more than they were; the client id
stays a classic nullable string; unknown tagged fields are passed over, wherever they are."""

from __future__ import annotations

import struct

import pytest

from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import create_topic
from tests.support.wire import Wire, raw_frame

TAGS = b"\x02\x05\x03abc\x63\x00"
"""Two tagged fields nobody knows: number 5 with three bytes, number 99 with none."""
FLEXIBLE_METADATA = 9


def metadata_request(topic: str, *, tags: bytes, client_id: str | None, version: int) -> bytes:
    """By hand: a flexible Metadata with ``tags`` in the header, in the topic, and at the end."""
    head = struct.pack(">hhi", ApiKey.METADATA, version, 5)
    name = client_id.encode() if client_id is not None else None
    head += struct.pack(">h", -1) if name is None else struct.pack(">h", len(name)) + name
    encoded = topic.encode()
    body = b"\x02" + bytes((len(encoded) + 1,)) + encoded + tags + b"\x00\x00\x00" + tags
    return raw_frame(head + tags + body)


@pytest.mark.parametrize("client_id", [None, "", "a client"])
@pytest.mark.parametrize("tags", [b"\x00", TAGS], ids=["without", "with"])
def test_unknown_tags_are_passed_over_in_header_structs_and_body(wire: Wire, tags: bytes, client_id) -> None:
    topic = create_topic(wire)
    wire.send(metadata_request(topic, tags=tags, client_id=client_id, version=FLEXIBLE_METADATA))
    frame = wire.frame()
    assert frame[:5] == struct.pack(">iB", 5, 0), "a flexible response header is the correlation id and no tags"
    answer = codec.decode_response(ApiKey.METADATA, FLEXIBLE_METADATA, frame[5:])
    assert [(found.error_code, found.name) for found in answer.topics] == [(0, topic)]


def test_the_last_classic_and_the_first_flexible_version_say_the_same(wire: Wire) -> None:
    topic = create_topic(wire, partitions=2)
    r = m.MetadataRequest
    answers = [
        wire.call(ApiKey.METADATA, version, r(topics=[r.MetadataRequestTopic(name=topic)]))
        for version in (FLEXIBLE_METADATA - 1, FLEXIBLE_METADATA)
    ]
    assert answers[0] == answers[1]


def test_offset_delete_never_becomes_flexible(wire: Wire) -> None:
    """Its header stays the old one, so a tag byte in it would be read as part of the group's name."""
    request = m.OffsetDeleteRequest(group_id="trap-3", topics=[])
    body = codec.encode_request(ApiKey.OFFSET_DELETE, 0, request)
    wire.send(raw_frame(struct.pack(">hhih", ApiKey.OFFSET_DELETE, 0, 8, -1) + body))
    frame = wire.frame()
    assert struct.unpack_from(">i", frame) == (8,)
    codec.decode_response(ApiKey.OFFSET_DELETE, 0, frame[4:])
