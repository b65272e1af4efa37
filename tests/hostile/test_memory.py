"""Peers that claim, hoard or do not read: the broker's memory and files stay flat."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import batch, create_topic, fetch_request, produce
from tests.support.wait import wait_until
from tests.support.wire import Wire, request_frame

MIB = 1024 * 1024
pytestmark = pytest.mark.usefixtures("survives")


def test_many_claimed_frames_own_nothing(victim) -> None:
    before = victim.rss_bytes()
    wires = [Wire(victim.port) for _ in range(150)]
    try:
        for wire in wires:
            wire.send(struct.pack(">i", 100 * MIB) + b"\0" * 1_000)
        with Wire(victim.port) as other:
            assert other.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
        assert victim.rss_bytes() - before < 20 * MIB
    finally:
        for wire in wires:
            wire.socket.close()


def test_connections_that_go_leave_nothing(victim) -> None:
    with Wire(victim.port) as wire:
        wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
    files = victim.open_files()
    for _ in range(20):
        wires = [Wire(victim.port) for _ in range(25)]
        for wire in wires:
            wire.send(b"\0\0\0")
            wire.socket.close()
    wait_until(lambda: victim.open_files() <= files + 1, "every socket is closed")


def test_a_reader_that_does_not_read_is_not_served_without_bound(victim) -> None:
    with Wire(victim.port) as wire:
        topic = create_topic(wire)
        for _ in range(8):
            assert produce(wire, topic, batch(b"x" * (MIB - 1_000))).error_code == 0
        before = victim.rss_bytes()
        slow = [Wire(victim.port) for _ in range(3)]
        fetch = request_frame(ApiKey.FETCH, 11, fetch_request(topic, max_bytes=50 * MIB))
        try:
            for each in slow:
                each.socket.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    send_repeatedly(each, fetch, 2_000)
            assert wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
            assert victim.rss_bytes() - before < 3 * 12 * MIB
        finally:
            for each in slow:
                each.socket.close()
    wait_until(lambda: victim.rss_bytes() - before < 20 * MIB, "the unsent answers are given back")


def test_many_slow_readers_share_a_bounded_memory(victim) -> None:
    """Each for itself would be given 8 MiB; together they are given less the more they leave lying."""
    with Wire(victim.port) as wire:
        topic = create_topic(wire)
        for _ in range(9):
            assert produce(wire, topic, batch(b"x" * (MIB - 1_000))).error_code == 0
        before = victim.rss_bytes()
        slow = [Wire(victim.port) for _ in range(60)]
        try:
            for each in slow:
                each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                each.send(request_frame(ApiKey.FETCH, 11, fetch_request(topic, max_bytes=50 * MIB)))
                assert wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
            assert victim.rss_bytes() - before < 260 * MIB
        finally:
            for each in slow:
                each.socket.close()
    wait_until(lambda: victim.rss_bytes() - before < 20 * MIB, "the unsent answers are given back")


def test_requests_behind_a_long_poll_are_not_hoarded(victim) -> None:
    """Sent, but not taken from the kernel: the peer is stopped by its own full socket."""
    with Wire(victim.port) as other, Wire(victim.port, timeout=1) as wire:
        topic = create_topic(other)
        wire.send(request_frame(ApiKey.FETCH, 11, fetch_request(topic, max_wait=60_000)))
        before = victim.rss_bytes()
        metadata = request_frame(ApiKey.METADATA, 9, m.MetadataRequest(topics=[])) * 1_000
        with pytest.raises(TimeoutError):
            send_repeatedly(wire, metadata, 5_000)
        assert victim.rss_bytes() - before < 8 * MIB


def send_repeatedly(wire: Wire, data: bytes, times: int) -> None:
    for _ in range(times):
        wire.socket.sendall(data)
