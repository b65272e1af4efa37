"""The set of partitions follows the cluster image and nothing else."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.types import TopicPartition
from tests.partition.stage import Stage, image_of, partition_image, topic_image
from tests.support.wait import eventually


@pytest.fixture
async def stage():
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    yield stage
    await stage.close()


def refusal(function, *arguments) -> ErrorCode:
    with pytest.raises(KafkaError) as error:
        function(*arguments)
    return error.value.code


async def test_a_created_topic_is_led_and_found_by_name_and_id(stage) -> None:
    topic = topic_image("orders", partition_image(), partition_image())
    stage.show(image_of(topic))
    assert stage.manager.get("orders", 1) is stage.manager.get_by_id(topic.topic_id, 1)
    assert stage.manager.resolve(None, topic.topic_id, 0) is stage.manager.resolve("orders", None, 0)
    assert len(list(stage.manager.partitions())) == 2


async def test_what_is_not_here_is_named_precisely(stage) -> None:
    elsewhere = topic_image("elsewhere", partition_image(leader=2, replicas=(2,)), number=2)
    follower = topic_image("follower", partition_image(leader=2, replicas=(2, 1)), number=3)
    stage.show(image_of(topic_image("orders"), elsewhere, follower))
    manager = stage.manager
    assert refusal(manager.get, "nothing", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert refusal(manager.get, "orders", 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert refusal(manager.get, "orders", -1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert refusal(manager.get, "elsewhere", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refusal(manager.get, "follower", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refusal(manager.get_by_id, b"\7" * 16, 0) is ErrorCode.UNKNOWN_TOPIC_ID
    assert refusal(manager.get_by_id, elsewhere.topic_id, 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_nothing_is_led_before_the_registration_is_settled(stage) -> None:
    stage.show(image_of(topic_image("orders"), settled=False))
    assert refusal(stage.manager.get, "orders", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    stage.show(image_of(topic_image("orders", partition_image(epoch=1))))
    assert stage.manager.get("orders", 0).leader_epoch == 1


async def test_a_deleted_topic_is_gone_with_its_waiters_and_a_new_one_is_empty(stage) -> None:
    stage.show(image_of(topic_image("orders")))
    stage.append(b"old")
    stage.show(image_of())
    assert refusal(stage.manager.get, "orders", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    stage.show(image_of(topic_image("orders", number=9)))
    assert stage.manager.get("orders", 0).log.log_end_offset == 0
    assert refusal(stage.manager.get_by_id, b"\1" * 16, 0) is ErrorCode.UNKNOWN_TOPIC_ID


async def test_a_topic_made_again_within_one_delta_is_a_new_one(stage) -> None:
    stage.show(image_of(topic_image("orders")))
    stage.append(b"old")
    stage.show(image_of(topic_image("orders", number=9)))
    assert stage.manager.get("orders", 0).log.log_end_offset == 0


async def test_config_changes_reach_log_and_state(stage) -> None:
    stage.show(image_of(topic_image("orders")))
    partition = stage.partition()
    stage.show(image_of(topic_image("orders", max_message_bytes="12345", min_insync_replicas="3")))
    assert stage.partition() is partition
    assert partition.log.config.max_message_bytes == 12_345
    assert partition.state.min_insync_replicas == 3


async def test_partitions_can_be_added(stage) -> None:
    stage.show(image_of(topic_image("orders")))
    stage.append(b"kept")
    stage.show(image_of(topic_image("orders", partition_image(), partition_image())))
    assert stage.partition().log.log_end_offset == 1
    assert stage.partition(index=1).log.log_end_offset == 0


async def test_a_resigned_leader_fails_what_waits(stage) -> None:
    stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2)))))
    offset = stage.append(b"a").last_offset
    waiting = stage.partition().wait_committed(offset)
    stage.show(image_of(topic_image("orders", partition_image(leader=2, epoch=1, replicas=(1, 2)))))
    assert waiting.exception().code is ErrorCode.NOT_LEADER_OR_FOLLOWER


class Seats:
    def __init__(self) -> None:
        self.events: list[tuple[str, TopicPartition]] = []

    def on_became_leader(self, partition) -> None:
        self.events.append((f"lead {partition.leader_epoch}", partition.topic_partition))

    def on_resigned(self, topic_partition) -> None:
        self.events.append(("resign", topic_partition))


async def test_coordinators_hear_of_their_topic_only_including_what_is_led_already(stage) -> None:
    stage.show(image_of(topic_image("orders"), topic_image("__consumer_offsets", number=2)))
    seats = Seats()
    stage.manager.listen("__consumer_offsets", seats)
    place = TopicPartition("__consumer_offsets", 0)
    stage.show(image_of(topic_image("__consumer_offsets", partition_image(epoch=1), number=2)))
    stage.show(image_of())
    assert seats.events == [("lead 0", place), ("lead 1", place), ("resign", place)]


async def test_an_offline_partition_is_a_storage_error_with_its_reason(stage) -> None:
    stage.log_dir.offline[TopicPartition("orders", 0)] = "CRC mismatch at offset 7"
    stage.show(image_of(topic_image("orders", partition_image(), partition_image())))
    with pytest.raises(KafkaError) as error:
        stage.manager.get("orders", 0)
    assert (error.value.code, str(error.value)) == (ErrorCode.KAFKA_STORAGE_ERROR, "CRC mismatch at offset 7")
    assert stage.manager.get("orders", 1)
    assert stage.manager.statistics().offline == 1


class Parked:
    def __init__(self, deadline: float, partitions) -> None:
        self.done = False
        self.deadline = deadline
        self.partitions = partitions

    def on_deadline(self) -> None:
        self.done = True

    def on_committed(self, slot: int) -> None: ...

    def on_commit_failed(self, slot: int, code: ErrorCode) -> None: ...


async def test_answers_give_up_at_their_deadline_and_are_forgotten(stage) -> None:
    stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2)))))
    partition = stage.partition()
    parked = Parked(stage.clock.monotonic() + 1, [partition])
    partition.park(stage.append(b"a").last_offset, parked, 0)
    stage.manager.watch_deadline(parked)
    stage.manager._on_tick()
    assert not parked.done
    stage.clock.advance(1_001)
    stage.manager._on_tick()
    assert parked.done
    assert stage.manager.statistics().parked_produce == 0
    assert not partition._commit_waiters


async def test_old_active_segments_are_rolled(stage) -> None:
    stage.show(image_of(topic_image("orders", segment_ms="1000")))
    stage.append(b"a")
    stage.clock.advance(6_000)
    stage.manager._on_tick()
    assert stage.partition().log.segment_count == 2


async def test_interval_flushes_by_itself() -> None:
    stage = Stage(OTTLA_ACK_DURABILITY="interval", OTTLA_ACK_FLUSH_INTERVAL_MS="100")
    stage.show(image_of(topic_image("orders")))
    append = stage.append(b"a")
    assert not stage.partition().park(append.last_offset, Parked(0, []), 0), "acks=all does not wait for it"
    stage.clock.advance(200)
    stage.manager._on_tick()
    await eventually(lambda: stage.partition().log.flushed_offset == 1)
    await stage.close()


async def test_the_disk_guard_refuses_below_the_floor_and_recovers() -> None:
    stage = Stage(OTTLA_DISK_FREE_FLOOR_BYTES="1000")
    stage.filesystem.capacity_bytes = 500
    stage.show(image_of(topic_image("orders")))
    assert "disk.free.floor.bytes=1000" in stage.manager.refuse_produce_reason()
    assert stage.manager.statistics().produce_refused_reason
    stage.filesystem.capacity_bytes = None
    assert stage.manager.refuse_produce_reason(), "asked at most once a second"
    stage.clock.advance(1_000)
    assert stage.manager.refuse_produce_reason() == ""
    await stage.close()


async def test_a_clean_stop_flushes_everything_and_leaves_the_marker() -> None:
    stage = Stage()
    stage.show(image_of(topic_image("orders")))
    stage.append(b"a", acks=1)
    log = stage.partition().log
    await stage.close()
    assert log.flushed_offset == 1
    assert stage.filesystem.read_file("/data/.kafka_cleanshutdown") is not None


async def test_a_log_dir_that_fails_in_an_append_fails_what_waits(stage) -> None:
    stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2)))))
    waiting = stage.partition().wait_committed(stage.append(b"a").last_offset)
    stage.log_dir.failed_reason = "Input/output error"
    stage.manager._on_tick()
    assert waiting.exception().code is ErrorCode.KAFKA_STORAGE_ERROR


async def test_checkpoints_hold_the_high_watermark(stage) -> None:
    stage.show(image_of(topic_image("orders")))
    stage.append(b"a", b"b")
    stage.clock.advance(6_000)
    stage.manager._on_tick()
    await eventually(
        lambda: b"orders 0 2" in (stage.filesystem.read_file("/data/replication-offset-checkpoint") or b"")
    )


async def test_deleted_partitions_are_unlinked_after_their_delay(stage) -> None:
    stage.show(image_of(topic_image("orders", file_delete_delay_ms="1000")))
    stage.append(b"a")
    stage.show(image_of())
    assert any(name.endswith("-delete") for name in stage.filesystem.list_directory("/data"))
    stage.clock.advance(2_000)
    stage.manager._on_tick()
    await eventually(lambda: not any(name.endswith("-delete") for name in stage.filesystem.list_directory("/data")))


async def test_fetch_answers_shrink_while_slow_readers_leave_much_lying(stage) -> None:
    sizes = []
    for unsent_mib in (0, 63, 64, 128, 0):
        stage.manager.limit_answers(unsent_mib << 20)
        sizes.append(stage.manager.fetch_answer_bytes_max)
    assert sizes == [8 << 20, 8 << 20, 1 << 20, 64 << 10, 8 << 20]
