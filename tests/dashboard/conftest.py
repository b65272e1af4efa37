"""A store in memory, a signed-in user, and a collector bench for the dashboard's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from dashboard.gateway import gateway
from dashboard.live import rendering, store
from dashboard.live.store import MemoryStore
from tests.dashboard.samples import Bench
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def live_memory(settings: Any) -> Iterator[MemoryStore]:
    """The process's live store, in memory and empty."""
    settings.OTTLA_LIVE_STORE = "memory"
    store.memory_store.cache_clear()
    yield store.memory_store()
    store.memory_store.cache_clear()


@pytest.fixture
def bench(live_memory: MemoryStore) -> Bench:
    return Bench(live_memory)


@pytest.fixture
def at_bench_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Pages are rendered at the bench's time: its samples are fresh."""
    monkeypatch.setattr(rendering, "wall_ms", lambda: bench.now_ms)
    return bench


@pytest.fixture
def viewer(client: Client, django_user_model: Any) -> Client:
    """Signed in, and nothing more: not staff."""
    client.force_login(django_user_model.objects.create_user("viewer", password="a long enough password"))
    return client


@pytest.fixture
def cluster(broker_process: BrokerProcess, settings: Any, live_memory: MemoryStore) -> Iterator[KafkaClient]:
    """The dashboard's gateway speaks to a real broker, on both of its listeners; this is another client of it."""
    settings.OTTLA_BOOTSTRAP = [broker_process.bootstrap]
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker_process.internal_port}"]
    settings.OTTLA_CLUSTER_SECRET_FILE = broker_process.home / "cluster_secret"
    gateway.cache_clear()
    with KafkaClient(broker_process.bootstrap) as client:
        yield client
    gateway().close()
    gateway.cache_clear()
