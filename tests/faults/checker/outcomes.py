"""Which failures of a write prove that nothing was written.

Few do. A client retries by itself, so an error from a broker tells what became of the last attempt only: an earlier
one may have been appended before its connection broke. Timeouts, lost connections and NOT_ENOUGH_REPLICAS_AFTER_APPEND
never prove anything. Calling such a write failed would turn its later appearance into a false alarm; calling a real
failure unknown only makes the checker a little blinder. So the list is short.
"""

from __future__ import annotations

NEVER_LEFT_THE_CLIENT = frozenset(
    {
        "_QUEUE_FULL",
        "_INVALID_ARG",
        "_UNKNOWN_PARTITION",
        "_UNKNOWN_TOPIC",
        "_STATE",
        "MSG_SIZE_TOO_LARGE",
        "MessageSizeTooLargeError",
        "KafkaConnectionError_at_start",
    }
)
"""Names of librdkafka and aiokafka for errors of their own, raised before anything was sent."""

REFUSED_WHOLE = frozenset(
    {
        "INVALID_MSG",
        "INVALID_RECORD",
        "INVALID_TIMESTAMP",
        "TOPIC_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "POLICY_VIOLATION",
    }
)
"""Errors every attempt gets alike, because they are about the records themselves."""


def outcome_of_write(error: str) -> str:
    """``fail`` or ``info`` for a write that ended with this error."""
    return "fail" if error in NEVER_LEFT_THE_CLIENT or error in REFUSED_WHOLE else "info"
