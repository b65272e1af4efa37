"""The WebSocket's inbound messages, validated before anything looks at them. See docs/live.md."""

from __future__ import annotations

import msgspec

INBOUND_BYTES_MAX = 8 * 1024
QUERY_LENGTH_MAX = 2_048
NAME_LENGTH_MAX = 1_024


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """Watch one page. ``id`` comes back in every answer, so that late ones of an earlier page are dropped."""

    page: str
    id: int
    name: str = ""
    """The topic or group the page is about."""
    query: str = ""
    """The page's query string: filter, sort, page, tab."""
    protocol: int = 1


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe", tag_field="type", forbid_unknown_fields=True):
    """Nobody looks (the tab is hidden): send nothing until the next subscribe."""


class Resync(msgspec.Struct, frozen=True, tag="resync", tag_field="type", forbid_unknown_fields=True):
    """A batch is missing: send a snapshot."""


class Ack(msgspec.Struct, frozen=True, tag="ack", tag_field="type", forbid_unknown_fields=True):
    """Batch ``batch`` is on the screen; the server keeps only a few unacknowledged."""

    batch: int


Inbound = Subscribe | Unsubscribe | Resync | Ack

_decoder: msgspec.json.Decoder[Inbound] = msgspec.json.Decoder(Inbound)


def decode_inbound(text: str | None) -> Inbound:
    """Raises ``ValueError`` on anything else, including binary frames and oversized ones."""
    if text is None:
        raise ValueError("binary messages are not part of the protocol")
    if len(text) > INBOUND_BYTES_MAX:
        raise ValueError("message too long")
    message = _decoder.decode(text)
    if isinstance(message, Subscribe) and (
        len(message.query) > QUERY_LENGTH_MAX or len(message.name) > NAME_LENGTH_MAX
    ):
        raise ValueError("name or query too long")
    return message
