"""Messages to bytes and back, both directions, every version.

Owns the four functions everybody calls; compiling (``reader.py``, ``writer.py``) happens on first use of a
message in a version. ``body`` is what follows the header (``header.py``). The broker decodes requests and encodes
responses; the client the other way round.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

from broker.limits import REQUEST_ELEMENTS_MAX, RESPONSE_ELEMENTS_MAX
from broker.protocol import schema
from broker.protocol.malformed import MalformedMessage
from broker.protocol.messages import message_class
from broker.protocol.reader import compile_reader
from broker.protocol.registry import kio_name
from broker.protocol.writer import compile_writer
from broker.types import Buffer


def decode_request(api_key: int, version: int, body: Buffer) -> Any:
    """Raises ``MalformedMessage`` for anything that does not begin with one such message.

    Bytes behind it are ignored, as Kafka ignores them: librdkafka leaves three behind Metadata v9+ for all topics.
    """
    return _decode(kio_name(api_key), "request", version, body)


def decode_response(api_key: int, version: int, body: Buffer) -> Any:
    """Raises ``MalformedMessage`` for anything that is not exactly one such message."""
    return _decode(kio_name(api_key), "response", version, body)


def encode_request(api_key: int, version: int, message: Any) -> bytes:
    return _encode(kio_name(api_key), "request", version, message)


def encode_response(api_key: int, version: int, message: Any) -> bytes:
    return _encode(kio_name(api_key), "response", version, message)


def decode_data(name: str, version: int, body: Buffer) -> Any:
    """A message without an API key, e.g. ``ConsumerProtocolSubscription``; ``body`` is what follows its version."""
    return _decode(schema.locate(name)[0], "data", version, body)


def encode_data(version: int, message: Any) -> bytes:
    return _encode(schema.locate(type(message).__name__)[0], "data", version, message)


def _decode(api: str, direction: schema.Direction, version: int, body: Buffer) -> Any:
    read = _reader(api, direction, version)
    try:
        # Indexing and slicing bytes is twice as fast as a memoryview, and the message outlives the buffer.
        return read(body if type(body) is bytes else bytes(body))
    except MalformedMessage as error:
        raise MalformedMessage(f"{api} {direction} v{version}: {error}") from None
    except (IndexError, struct.error) as error:
        raise MalformedMessage(f"{api} {direction} v{version}: cut off") from error
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"{api} {direction} v{version}: a string is not UTF-8") from error


def _encode(api: str, direction: schema.Direction, version: int, message: Any) -> bytes:
    try:
        return _writer(api, direction, version)(message)
    except Exception as error:
        error.add_note(f"while encoding {api} {direction} v{version}")
        raise


@functools.cache
def _reader(api: str, direction: schema.Direction, version: int) -> Callable[[bytes], Any]:
    request = direction == "request"
    budget = REQUEST_ELEMENTS_MAX if request else RESPONSE_ELEMENTS_MAX
    spec = _spec(api, direction, version)
    return compile_reader(spec, message_class(api, direction), budget, exact=not request)


@functools.cache
def _writer(api: str, direction: schema.Direction, version: int) -> Callable[[Any], bytes]:
    return compile_writer(_spec(api, direction, version), message_class(api, direction))


def _spec(api: str, direction: schema.Direction, version: int) -> schema.StructSpec:
    spec = schema.load(api, direction).get(version)
    if spec is None:
        raise MalformedMessage(f"{api} {direction} has no version {version}")
    return spec
