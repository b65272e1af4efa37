"""franz-go, the Go client that uses the newest versions of the most APIs."""

from __future__ import annotations

import pytest

from tests.interop.codecs import it_reads_what_librdkafka_writes, others_read_what_it_writes
from tests.interop.go_program import BUILD_SECONDS_MAX, require_go, scenario

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("go"), pytest.mark.timeout(BUILD_SECONDS_MAX + 60)]


@pytest.fixture(scope="module")
def go() -> None:
    require_go()


def test_what_go_writes_in_each_codec_others_read(broker, new_topic) -> None:
    others_read_what_it_writes(scenario, broker.bootstrap, new_topic, "go")


def test_go_reads_what_librdkafka_wrote_in_each_codec(broker, new_topic) -> None:
    it_reads_what_librdkafka_writes(scenario, broker.bootstrap, new_topic)


def test_its_admin_client_gets_what_it_asks_for(broker, topic_name) -> None:
    assert scenario("admin", broker.bootstrap, topic_name()) == {
        "partitions": "3",
        "retention.ms": "1000000",
        "written": "10",
        "producers known": "true",
        "committed": "5",
        "left": "false",
    }


def test_transactions_are_seen_whole_or_not_at_all(broker, new_topic) -> None:
    answers = scenario("transactions", broker.bootstrap, new_topic(partitions=3))

    assert answers == {"read_committed": "20", "read_uncommitted": "30"}
