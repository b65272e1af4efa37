"""kafka-python's protocol classes: the second opinion. Importing them warns about their use of importlib."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kafka.protocol.api_message import ApiMessage
    from kafka.protocol.consumer import FetchRequest, FetchResponse
    from kafka.protocol.metadata import MetadataRequest, MetadataResponse
    from kafka.protocol.producer import ProduceRequest, ProduceResponse
    from kafka.record import MemoryRecords

__all__ = [
    "ApiMessage",
    "FetchRequest",
    "FetchResponse",
    "MemoryRecords",
    "MetadataRequest",
    "MetadataResponse",
    "ProduceRequest",
    "ProduceResponse",
]
