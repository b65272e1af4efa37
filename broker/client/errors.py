"""What can go wrong between this client and a broker, kept apart from what a broker *answers*.

A broker's answer with an error code is a ``KafkaError``. Everything here means there was no usable answer:
the connection failed, took too long, or the peer broke the protocol. All are ``OSError``\\ s, so a caller that
only wants "the broker cannot be reached" catches ``ClientConnectionError``.
"""

from __future__ import annotations

from broker.errors import ErrorCode, KafkaError


class ClientConnectionError(OSError):
    """No usable answer. ``maybe_sent`` says whether the broker may nevertheless have acted on the request."""

    def __init__(self, message: str, *, maybe_sent: bool = False) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class BrokerUnreachableError(ClientConnectionError):
    """The broker that the cluster names for this cannot be reached, and certainly did not get the request. Others may take
    over from it any moment."""


class ClientTimeoutError(ClientConnectionError):
    """The deadline of the call passed."""


class AuthenticationFailedError(ClientConnectionError):
    """One side of the internal listener's challenge could not prove that it knows the cluster secret."""


class PeerProtocolError(ClientConnectionError):
    """The peer sent bytes that are not Kafka's protocol; the connection was closed."""


def error_code(code: int) -> ErrorCode:
    """The named code; a number this client does not know becomes ``UNKNOWN_SERVER_ERROR``."""
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR


def raise_for_code(code: int, message: str | None = None) -> None:
    """Raise ``KafkaError`` unless ``code`` is 0. An unknown number is named in the message, never lost."""
    if code == 0:
        return
    named = error_code(code)
    if named is ErrorCode.UNKNOWN_SERVER_ERROR and code != ErrorCode.UNKNOWN_SERVER_ERROR:
        message = f"the broker answered with the unknown error code {code}" + (f": {message}" if message else "")
    raise KafkaError(named, message or None)
