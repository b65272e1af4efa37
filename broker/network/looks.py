"""One connection as an operator sees it, put together when somebody looks.

Called by ``server.py``. Sessions only count; rates come from here, measured since the last look that was a second ago.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.protocol.private import ConnectionEntry

if TYPE_CHECKING:
    from broker.network.session import Session

WINDOW_SECONDS_MIN = 1.0


class RateMark(NamedTuple):
    """The counters as somebody last saw them."""

    at: float
    requests: int
    bytes_in: int
    bytes_out: int


def describe(session: Session, *, now: float, now_ms: int, age_ms: int, idle_ms: int) -> ConnectionEntry:
    """``now`` is the loop's time, ``now_ms`` the wall clock's."""
    connection, mark = session.connection, session.mark
    seconds = max(now - mark.at, 0.001)
    if seconds >= WINDOW_SECONDS_MIN:
        session.mark = RateMark(now, connection.requests_total, connection.bytes_in_total, connection.bytes_out_total)
    waiting_bytes, unsent_bytes = session.held_bytes()
    return ConnectionEntry(
        connection_id=connection.connection_id,
        listener=connection.listener,
        peer_host=connection.peer_host,
        peer_port=connection.peer_port,
        connected_at_ms=now_ms - age_ms,
        idle_ms=idle_ms,
        client_id=connection.client_id,
        client_software_name=connection.client_software_name,
        client_software_version=connection.client_software_version,
        api_versions=dict(connection.api_versions),
        requests=connection.requests_total,
        bytes_in=connection.bytes_in_total,
        bytes_out=connection.bytes_out_total,
        window_seconds=seconds,
        requests_per_second=(connection.requests_total - mark.requests) / seconds,
        bytes_in_per_second=(connection.bytes_in_total - mark.bytes_in) / seconds,
        bytes_out_per_second=(connection.bytes_out_total - mark.bytes_out) / seconds,
        throttled_ms=connection.throttled_ms_total,
        muted=session.muted,
        client_instance_id=connection.client_instance_id,
        pending=session.pending_count,
        waiting_bytes=waiting_bytes,
        unsent_bytes=unsent_bytes,
    )
