"""What a peer did wrong on the wire.

Kept apart from ``KafkaError``: a malformed frame has no item that could carry a wire code, so the only
answer is to close the connection. Nothing else may leave a decoder, whatever bytes it was given.
"""

from __future__ import annotations


class MalformedMessage(ValueError):
    """The bytes are not a message of the API and version they claim to be."""
