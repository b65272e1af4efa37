"""InitProducerId (22), versions 0–5: an id for an idempotent producer.

Without a transactional id every call answers a new id with epoch 0, whatever id and epoch the producer had (v3+): its
sequences live with its id, so a new one can never be mistaken for the old. This is Kafka's rule too; KIP-360's epoch bump
on the broker is for transactional producers. An id without an epoch, or the reverse, is INVALID_REQUEST.

Deviation: transactions are not served yet. A transactional id is answered UNSUPPORTED_VERSION, which every client takes as
final; a coordinator error would make it retry until its timeout without saying why.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_EPOCH, NO_PRODUCER_ID

API = ApiKey.INIT_PRODUCER_ID


async def handle(request: Request, message: Any, services: Services) -> Any:
    if message.transactional_id is not None:
        return _refused(ErrorCode.UNSUPPORTED_VERSION if message.transactional_id else ErrorCode.INVALID_REQUEST)
    if (message.producer_id == NO_PRODUCER_ID) != (message.producer_epoch == NO_EPOCH):
        return _refused(ErrorCode.INVALID_REQUEST)
    try:
        producer_id = await services.cluster.allocate_producer_id()
    except KafkaError as error:
        return _refused(error.code)
    return m.InitProducerIdResponse(error_code=ErrorCode.NONE, producer_id=producer_id, producer_epoch=0)


def _refused(code: ErrorCode) -> Any:
    return m.InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_EPOCH)
