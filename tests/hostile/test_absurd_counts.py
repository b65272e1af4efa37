"""A count is believed only as far as bytes are there: the connection is closed, and nothing is allocated for the claim."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from broker.handlers.context import ConnectionInfo
from broker.handlers.pipeline import Pipeline
from broker.handlers.reply import CloseConnection
from broker.protocol.registry import SERVED
from broker.quotas.driver import Quotas
from tests.hostile.absurd_counts import attacks
from tests.support.wire import Wire, raw_frame

PUBLIC = [spec for spec in SERVED.values() if not spec.internal]
BYTES_MAX = 1 << 20


@pytest.mark.parametrize("spec", PUBLIC, ids=lambda spec: spec.name)
def test_every_array_of_every_version_is_measured_against_what_is_left(spec: Any) -> None:
    services: Any = SimpleNamespace(quotas=Quotas())
    pipeline = Pipeline(services)
    connection = ConnectionInfo(1, "127.0.0.1", 1, "internal", authenticated=True)
    requests = [a for v in range(spec.min_version, spec.max_version + 1) for a in attacks(spec, v)]
    pipeline_handle = pipeline.handle
    answered = []
    if requests:
        with pytest.raises(CloseConnection):  # compiles the codec, whose memory is not the attacker's
            pipeline_handle(memoryview(requests[0][1]), connection)
    tracemalloc.start()
    try:
        for path, request in requests:
            try:
                pipeline_handle(memoryview(request), connection)
                answered.append(path)
            except CloseConnection:
                continue
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answered == []
    assert peak < BYTES_MAX + 50_000 * len(requests), "compiled codecs of further versions at most"


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("spec", PUBLIC, ids=lambda spec: spec.name)
def test_the_connection_is_closed_without_an_answer(victim: Any, spec: Any) -> None:
    for version in {spec.min_version, spec.max_version}:
        for path, request in attacks(spec, version):
            with Wire(victim.port) as wire:
                wire.send(raw_frame(request))
                assert wire.closed_by_broker(), f"{spec.name} v{version} {path}"


def test_the_attacks_reach_nested_and_tagged_arrays() -> None:
    fetch = next(spec for spec in PUBLIC if spec.name == "Fetch")
    paths = {path.partition("=")[0] for path, _ in attacks(fetch, 12)}
    assert {"topics", "topics.partitions", "forgotten_topics_data", "forgotten_topics_data.partitions"} <= paths
    total = sum(len(list(attacks(spec, v))) for spec in PUBLIC for v in range(spec.min_version, spec.max_version + 1))
    assert total > 400
