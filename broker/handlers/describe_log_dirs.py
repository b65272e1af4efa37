"""DescribeLogDirs (35), versions 1–5: size and lag of the replicas in this broker's log directories.

Null topics ask for all. v3 a top-level error; v4 size and free space of the volume (-1 when unknown); v5 whether a directory
takes new partitions (``is_cordoned``: Ottla's always do). A failed directory is listed with KAFKA_STORAGE_ERROR.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_LOG_DIRS


def handle(request: Request, message: Any, services: Services) -> Any:
    wanted = None
    if message.topics is not None:
        wanted = {(topic.topic, partition) for topic in message.topics for partition in topic.partitions}
    results = []
    for path, error_code, total_bytes, usable_bytes, replicas in services.partitions.log_dirs():
        topics: dict[str, list[Any]] = {}
        for topic, partition, size, offset_lag, is_future in replicas:
            if wanted is None or (topic, partition) in wanted:
                topics.setdefault(topic, []).append(
                    m.DescribeLogDirsResponse.DescribeLogDirsPartition(
                        partition_index=partition, partition_size=size, offset_lag=offset_lag, is_future_key=is_future
                    )
                )
        results.append(
            m.DescribeLogDirsResponse.DescribeLogDirsResult(
                error_code=error_code,
                log_dir=path,
                topics=[
                    m.DescribeLogDirsResponse.DescribeLogDirsTopic(name=name, partitions=partitions)
                    for name, partitions in topics.items()
                ],
                total_bytes=total_bytes,
                usable_bytes=usable_bytes,
            )
        )
    return m.DescribeLogDirsResponse(error_code=ErrorCode.NONE, results=results)
