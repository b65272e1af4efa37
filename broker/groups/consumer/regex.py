"""Subscriptions by pattern: what the server makes of ``SubscribedTopicRegex``.

Owns: compiling and matching. The patterns are a client's, and they are matched on the broker's event loop, so the
engine is RE2, the one whose syntax Kafka promises (its RE2/J): it takes time linear in the topic's name whatever the
pattern is, and has neither look-around nor back references, which no linear engine has. Length, memory and therefore
the time of one look are bounded. Loaded with the first pattern, since most brokers never see one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.limits import QUOTED_LENGTH_MAX, SUBSCRIPTION_REGEX_LENGTH_MAX, SUBSCRIPTION_REGEX_MEMORY_BYTES_MAX


@lru_cache(maxsize=64)
def compile_regex(regex: str) -> Any:
    """Raises INVALID_REGULAR_EXPRESSION."""
    import re2

    if len(regex) > SUBSCRIPTION_REGEX_LENGTH_MAX:
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"A regular expression of {len(regex)} characters; {SUBSCRIPTION_REGEX_LENGTH_MAX} are allowed.",
        )
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = SUBSCRIPTION_REGEX_MEMORY_BYTES_MAX
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        (reason,) = error.args
        told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"SubscribedTopicRegex `{regex[:QUOTED_LENGTH_MAX]}` is not a valid regular expression: {told}.",
        ) from None


def matching_topics(regex: str, names: Iterable[str]) -> frozenset[str]:
    """The names that the pattern describes whole, not merely in part."""
    matches = compile_regex(regex).fullmatch
    return frozenset(name for name in names if matches(name))
