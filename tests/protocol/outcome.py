"""How a call ended, as a value to assert on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.errors import ErrorCode, KafkaError


def error_code(call: Callable[[], Any]) -> ErrorCode:
    """NONE, or the code of the ``KafkaError`` that the call raised. Other exceptions pass."""
    try:
        call()
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE
