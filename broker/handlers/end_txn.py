"""EndTxn v0-5: commit or abort a transaction.

Versions: v3 flexible, v4 new error codes, v5 transactions of version 2 (KIP-890): every end raises the epoch, and the answer
names the id and epoch to go on with; a repeated request gets the same answer. Answered when the decision is committed;
markers are written after that. Before v2 a fenced producer is told INVALID_PRODUCER_EPOCH.
Deviation: the same decision asked for again waits up to 100 ms for the transaction to complete, then answers
CONCURRENT_TRANSACTIONS as Kafka does at once.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import EndTransaction
from broker.transactions.metadata import VERSION_2
from broker.types import NO_EPOCH, NO_PRODUCER_ID

API = ApiKey.END_TXN

_FENCED_SINCE_VERSION = 2
_VERSION_2_SINCE_VERSION = 5


async def handle(request: Request, message: Any, services: Services) -> Any:
    event = EndTransaction(
        transactional_id=message.transactional_id,
        producer_id=message.producer_id,
        producer_epoch=message.producer_epoch,
        commit=message.committed,
        client_version=VERSION_2 if request.api_version >= _VERSION_2_SINCE_VERSION else 0,
    )
    try:
        reply = await services.transactions.end(event)
    except KafkaError as error:
        code = error.code
        if code is ErrorCode.PRODUCER_FENCED and request.api_version < _FENCED_SINCE_VERSION:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        return m.EndTxnResponse(error_code=int(code), producer_id=NO_PRODUCER_ID, producer_epoch=NO_EPOCH)
    return m.EndTxnResponse(
        error_code=int(ErrorCode.NONE), producer_id=reply.producer_id, producer_epoch=reply.producer_epoch
    )
