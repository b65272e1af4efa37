"""The few checks of Produce for which single records have to be opened.

Called by ``produce.py``: for every batch to a compacted topic (a record without a key could never be compacted away),
and to name the culprits once a batch is refused for its timestamps. Never for an ordinary topic's good batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.records import iter_records
from broker.types import TopicPartition

RecordErrors = tuple[tuple[int, str], ...]
"""(index in the batch, what is wrong with it)"""
SHOWN_MAX = 3
RECORD_ERRORS_MAX = 1_000
"""A batch of 100,000 bad records is told about the first thousand."""


class RecordsRefused(KafkaError):
    """Some records of a batch are bad, hence the batch; the others are as they should be."""

    def __init__(self, code: ErrorCode, record_errors: RecordErrors) -> None:
        shown = ", ".join(f"{index}: {text}" for index, text in record_errors[:SHOWN_MAX])
        super().__init__(
            code,
            f"One or more records have been rejected due to {len(record_errors)} record errors in total, and only "
            f"showing the first three errors at most: [{shown}]",
        )
        self.record_errors = record_errors


def check_keys(records: memoryview, topic_partition: TopicPartition) -> None:
    """Refuse records without a key. Raises ``KafkaError``."""
    text = f"Compacted topic cannot accept message without key in topic partition {topic_partition}."
    keyless = _first((index, text) for index, record in enumerate(iter_records(records)) if record.key is None)
    if keyless:
        raise RecordsRefused(ErrorCode.INVALID_RECORD, keyless)


def name_timestamps(records: memoryview, config: TopicConfig, now_ms: int, refusal: KafkaError) -> KafkaError:
    """``refusal`` of a batch for its timestamps, with the records that are out of range."""
    low = now_ms - config.message_timestamp_before_max_ms
    high = now_ms + config.message_timestamp_after_max_ms
    try:
        wrong = _first(
            (
                index,
                f"Timestamp {record.timestamp} of message with offset {index} is out of range. The timestamp should be "
                f"within [{low}, {high}]",
            )
            for index, record in enumerate(iter_records(records))
            if record.timestamp is not None and not low <= record.timestamp <= high
        )
    except KafkaError:  # cannot be opened: then the refusal of the whole batch has to do
        return refusal
    return RecordsRefused(ErrorCode.INVALID_TIMESTAMP, wrong) if wrong else refusal


def _first(errors: Iterable[tuple[int, str]]) -> RecordErrors:
    return tuple(error for error, _ in zip(errors, range(RECORD_ERRORS_MAX), strict=False))
