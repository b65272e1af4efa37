"""The blocking facade: threads, forks, deadlines, reconnects."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError, ClientTimeoutError
from broker.protocol.api import ApiKey
from tests.client.fake_broker import FakeBroker


class BackgroundBroker:
    """A fake broker on a loop of its own, for callers that block."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self.broker.__aenter__())

    def run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(5)  # type: ignore[arg-type]

    def drop_connections(self) -> None:
        async def drop() -> None:
            self.broker.drop_connections()

        self.run(drop())

    def close(self) -> None:
        self.run(self.broker.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


@pytest.fixture
def background() -> Iterator[BackgroundBroker]:
    broker = BackgroundBroker()
    yield broker
    broker.close()


def test_threads_share_one_client(background: BackgroundBroker) -> None:
    with Client(background.broker.bootstrap) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.describe_cluster().cluster_id, range(200)))
    assert answers == ["fake"] * 200
    assert background.broker.connections_total <= 4


def test_a_closed_client_starts_again_with_the_next_call(background: BackgroundBroker) -> None:
    client = Client(background.broker.bootstrap)
    client.describe_cluster()
    client.close()
    client.close()
    assert client.describe_cluster().cluster_id == "fake"
    client.close()


def test_it_reconnects_by_itself(background: BackgroundBroker) -> None:
    with Client(background.broker.bootstrap) as client:
        for _ in range(3):
            assert client.describe_cluster().cluster_id == "fake"
            background.drop_connections()


def test_a_silent_broker_is_a_timeout(background: BackgroundBroker) -> None:
    background.broker.answers[ApiKey.METADATA] = lambda version, request: None
    with (
        Client(background.broker.bootstrap, request_timeout_seconds=0.1) as client,
        pytest.raises(ClientTimeoutError),
    ):
        client.describe_cluster()


def test_nobody_there_is_a_connection_error() -> None:
    broker = BackgroundBroker()
    bootstrap = broker.broker.bootstrap
    broker.close()
    with Client(bootstrap) as client, pytest.raises(ClientConnectionError):
        client.describe_cluster()


def test_closing_leaves_no_thread(background: BackgroundBroker) -> None:
    before = threading.active_count()
    client = Client(background.broker.bootstrap)
    client.describe_cluster()
    assert threading.active_count() == before + 1
    client.close()
    assert threading.active_count() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_afresh_and_leaves_the_parent_alone(background: BackgroundBroker) -> None:
    with Client(background.broker.bootstrap) as client:
        client.describe_cluster()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if client.describe_cluster().cluster_id == "fake" else 2
                client.close()
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert client.describe_cluster().cluster_id == "fake"
        assert background.broker.connections_total == 2
