"""InitProducerId v0-5: an id and an epoch for a producer.

Without a transactional id every call answers a new id with epoch 0, whatever id and epoch the producer had (v3+): its
sequences live with its id, so a new one can never be mistaken for the old. With one, the transactional id's coordinator
answers its next epoch, ends the transaction of the producer before, and fences that producer; a producer that recovers (v3+,
KIP-360) names id and epoch. An id without an epoch, or the reverse, is INVALID_REQUEST. Before v4 a fenced producer is told
INVALID_PRODUCER_EPOCH. Two-phase commit (v6, KIP-939) is not stable in Kafka and not served.
Deviations: while a transaction is being ended the request waits up to 100 ms for it, then answers CONCURRENT_TRANSACTIONS as
Kafka does at once. A request that recovers with an old epoch is fenced before it can abort the present producer's
transaction.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import IdentityReply, InitProducerId
from broker.types import NO_EPOCH, NO_PRODUCER_ID

API = ApiKey.INIT_PRODUCER_ID

_FENCED_SINCE_VERSION = 4


async def handle(request: Request, message: Any, services: Services) -> Any:
    try:
        identity = await _identity(message, services)
    except KafkaError as error:
        code = error.code
        if code is ErrorCode.PRODUCER_FENCED and request.api_version < _FENCED_SINCE_VERSION:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        identity = IdentityReply(error=code)
    return m.InitProducerIdResponse(
        error_code=int(identity.error), producer_id=identity.producer_id, producer_epoch=identity.producer_epoch
    )


async def _identity(message: Any, services: Services) -> IdentityReply:
    if (message.producer_id == NO_PRODUCER_ID) != (message.producer_epoch == NO_EPOCH):
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    if message.transactional_id is None:
        return IdentityReply(producer_id=await services.cluster.allocate_producer_id(), producer_epoch=0)
    return await services.transactions.init_producer_id(
        InitProducerId(
            transactional_id=message.transactional_id,
            timeout_ms=message.transaction_timeout,
            producer_id=message.producer_id,
            producer_epoch=message.producer_epoch,
        )
    )
