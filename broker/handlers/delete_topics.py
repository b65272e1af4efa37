"""DeleteTopics (20), versions 1–6: by name, and from v6 by name or id.

v5 error messages; before v3 TOPIC_DELETION_DISABLED did not exist and INVALID_REQUEST stands for it.

Deviation: internal topics are refused. Kafka deletes ``__consumer_offsets`` when asked, and with it every group's place.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.decision import TopicResult
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import ZERO_TOPIC_ID

API = ApiKey.DELETE_TOPICS


async def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version >= 6:
        topics = [(topic.name, topic.topic_id) for topic in message.topics]
    else:
        topics = [(name, ZERO_TOPIC_ID) for name in message.topic_names]
    results = await services.cluster.delete_topics(topics)
    return m.DeleteTopicsResponse(responses=[_result(request, result) for result in results])


def _result(request: Request, result: TopicResult) -> Any:
    code = ErrorCode.NONE if result.error is None else result.error.code
    if code is ErrorCode.TOPIC_DELETION_DISABLED and request.api_version < 3:
        code = ErrorCode.INVALID_REQUEST
    return m.DeleteTopicsResponse.DeletableTopicResult(
        name=result.name,
        topic_id=result.topic_id,
        error_code=code,
        error_message=None if result.error is None else result.error.message,
    )
