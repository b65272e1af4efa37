"""What the broker compresses itself is read by every client, whatever the producers did, and is a sound log on disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.commandline.run import Cli
from tests.interop.clients import CODECS, READERS, WRITERS, Message
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.interop
TARGETS = {"uncompressed": "", "gzip": "9", "snappy": "", "lz4": "1", "zstd": "19"}
RECORDS = [Message(key=b"key-%d" % index, value=b"value-%d" % index * 20) for index in range(100)]
LIBRARIES = ("confluent-kafka", "kafka-python", "aiokafka")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker with a topic of each codec, to which every codec has been produced."""
    with BrokerProcess(tmp_path_factory.mktemp("recompressed"), OTTLA_ACK_DURABILITY="os") as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = []
        for target, level in TARGETS.items():
            config = {"compression.type": target}
            if level:
                config[f"compression.{target}.level"] = level
            topics.append(NewTopic(f"to-{target}", 1, 1, config=config))
        for created in admin.create_topics(topics).values():
            created.result(timeout=30)
        for target in TARGETS:
            for codec in CODECS:
                WRITERS["confluent-kafka"](broker.bootstrap, f"to-{target}", RECORDS, codec)
        yield broker


@pytest.mark.parametrize("reader", LIBRARIES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_client_reads_what_the_broker_compressed(written: BrokerProcess, target: str, reader: str) -> None:
    found = READERS[reader](written.bootstrap, f"to-{target}", len(RECORDS) * len(CODECS))
    assert sorted(m.content for m in found) == sorted(r.content for _ in CODECS for r in RECORDS)
    assert [message.offset for message in found] == list(range(len(found)))


def test_the_files_are_sound(written: BrokerProcess) -> None:
    written.stop()
    Cli()("verify_log", str(written.data_directory))
    written.start()
