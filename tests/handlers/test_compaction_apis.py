"""CompactionInventory, ActiveProducers and SwapSegments: the broker has the last word on every swap."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from broker.compaction.cleaner import CleanedGroup, PartitionPass
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.handlers import active_producers, compaction_inventory, swap_segments
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol.private import (
    ActiveProducersRequest,
    CompactionInventoryRequest,
    CompactionInventoryResponse,
    SwapSegmentsRequest,
    SwapSegmentsResponse,
)
from broker.storage.cleaned_segment import discard_leftovers
from tests.compaction.stage import SETTINGS, Stage, with_config

REQUEST = cast(Request, SimpleNamespace())


class Broker:
    """A broker with one compacted partition on a recorded disk, and the worker that cleaned it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.held: dict[tuple[str, int], Partition] = {("orders", 0): self.stage.partition}
        self.config = BrokerConfig()
        self.services = cast(
            Services,
            SimpleNamespace(
                node_id=1,
                incarnation="now",
                clock=self.stage.clock,
                cluster=SimpleNamespace(config=self.config),
                partitions=SimpleNamespace(
                    log_dir=self.stage.log_dir,
                    partitions=lambda: self.held.values(),
                    find=lambda topic, number: self.held.get((topic, number)),
                ),
            ),
        )
        for number in range(12):
            self.stage.append((b"%d" % (number % 3), b"%d" % number))
            if number % 4 == 3:
                self.stage.close_segment()
        self.refresh()

    def refresh(self) -> None:
        self.held["orders", 0] = self.stage.partition

    async def inventory(self, **wanted: Any) -> CompactionInventoryResponse:
        return await compaction_inventory.handle_private(REQUEST, CompactionInventoryRequest(**wanted), self.services)

    async def cleaned(self) -> SwapSegmentsRequest:
        """What the worker asks for after cleaning everything that is closed."""
        groups: list[CleanedGroup] = []
        planned = self.stage.planned()
        assert planned is not None
        work = PartitionPass(
            self.stage.disk,
            planned,
            {},
            SETTINGS,
            now_ms=self.stage.clock.wall_ms(),
            new_token=lambda: "ab12",
            moved=lambda count: None,
        )
        work.run(groups.append)
        (group,) = groups
        inventory = await self.inventory()
        (partition,) = inventory.partitions
        return SwapSegmentsRequest(
            topic="orders",
            partition=0,
            topic_id=partition.topic_id,
            incarnation=inventory.incarnation,
            truncations=partition.truncations,
            token=group.token,
            replaced=list(group.replaced),
            size_bytes=group.facts.size_bytes,
            digest=group.facts.digest,
        )

    async def swap(self, request: SwapSegmentsRequest, **changes: Any) -> SwapSegmentsResponse:
        changed = msgspec.structs.replace(request, **changes)
        return await swap_segments.handle_private(REQUEST, changed, self.services)

    @property
    def offsets(self) -> list[int]:
        return [offset for offset, _, _ in self.stage.records()]


@pytest.fixture
def broker() -> Broker:
    return Broker()


# The inventory ---------------------------------------------------------------------------------------


async def test_the_inventory_says_where_the_files_are_and_how_far_compaction_may_go(broker: Broker) -> None:
    broker.stage.append((b"open", b"1"))
    broker.refresh()
    found = await broker.inventory()
    assert (found.broker_id, found.incarnation, found.directory) == (1, "now", "/data")
    assert found.directory_id == broker.stage.log_dir.meta.directory_id
    assert found.settings is not None
    assert (found.settings.threads, found.settings.backoff_ms) == (1, 15_000)
    (partition,) = found.partitions
    assert (partition.directory, partition.decided_offset) == ("/data/orders-0", 12)
    assert [(one.base_offset, one.active) for one in partition.segments] == [
        (0, False),
        (4, False),
        (8, False),
        (12, True),
    ]
    assert (await broker.inventory(topics=["other"])).partitions == []
    assert (await broker.inventory(topics=["orders"], partitions=[1])).partitions == []


async def test_the_oldest_open_transaction_and_what_is_not_durable_stop_it(broker: Broker) -> None:
    broker.stage.undecided = 6
    broker.refresh()
    assert (await broker.inventory()).partitions[0].decided_offset == 6
    broker.stage.undecided = None
    broker.stage.log.flushed_offset = 5
    broker.refresh()
    assert (await broker.inventory()).partitions[0].decided_offset == 5


async def test_a_partition_that_is_offline_is_not_in_it(broker: Broker) -> None:
    broker.stage.log.offline_reason = "its disk is gone"
    assert (await broker.inventory()).partitions == []


async def test_a_topic_that_is_only_deleted_is_not_in_it(broker: Broker) -> None:
    broker.stage.log.config = with_config(cleanup_policy=frozenset(("delete",)))
    assert (await broker.inventory()).partitions == []
    broker.stage.log.config = with_config(cleanup_policy=frozenset(("delete", "compact")))
    assert len((await broker.inventory()).partitions) == 1


def test_the_producers_are_told_with_their_last_offsets(broker: Broker) -> None:
    broker.stage.append((b"a", b"1"), producer_id=7, producer_epoch=2, base_sequence=0)
    answer = active_producers.handle_private(
        REQUEST, ActiveProducersRequest(topic="orders", partition=0), broker.services
    )
    assert answer.producers == [(7, 2, 12)]
    answer = active_producers.handle_private(REQUEST, ActiveProducersRequest(topic="x", partition=0), broker.services)
    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# The swap --------------------------------------------------------------------------------------------


async def test_a_swap_that_fits_happens_and_says_how_large_the_log_is(broker: Broker) -> None:
    answer = await broker.swap(await broker.cleaned())
    assert (answer.error_code, answer.error_message) == (0, "")
    assert answer.log_bytes == broker.stage.log.size_bytes
    assert broker.offsets == [9, 10, 11]


async def test_the_same_request_twice_swaps_once(broker: Broker) -> None:
    request = await broker.cleaned()
    assert (await broker.swap(request)).error_code == 0
    again = await broker.swap(request)
    assert again.error_code == ErrorCode.OPERATION_NOT_ATTEMPTED
    assert broker.offsets == [9, 10, 11]


async def test_the_permission_to_have_gaps_is_durable_before_the_first_swap(broker: Broker) -> None:
    request = await broker.cleaned()
    since = len(broker.stage.disk.journal)
    await broker.swap(request)
    changes = [str(change) for change in broker.stage.disk.journal[since:]]
    permission = next(
        i for i, change in enumerate(changes) if "cleaner-offset-checkpoint" in change and "Move" in change
    )
    swap = next(i for i, change in enumerate(changes) if ".swap" in change)
    assert permission < swap


async def test_the_end_of_a_pass_moves_the_checkpoint_and_no_further_than_decided(broker: Broker) -> None:
    request = await broker.cleaned()
    answer = await broker.swap(request, replaced=[], token="", first_dirty_offset=12, bytes_before=9, bytes_after=5)
    assert answer.error_code == 0
    assert broker.stage.log.first_dirty_offset == 12
    assert (broker.stage.log.last_compaction.bytes_before, broker.stage.log.last_compaction.bytes_after) == (9, 5)
    broker.stage.undecided = 6
    broker.refresh()
    await broker.swap(request, replaced=[], token="", first_dirty_offset=12)
    assert broker.stage.log.first_dirty_offset == 6


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"incarnation": "an earlier one"}, "restarted"),
        ({"truncations": 1}, "truncated"),
        ({"topic_id": bytes(16)}, ""),
        ({"topic": "gone"}, ""),
        ({"token": "../x"}, "token"),
        ({"token": "ff"}, "cannot be used"),
        ({"size_bytes": 1}, "not the one"),
        ({"digest": 1}, "not the one"),
    ],
)
async def test_a_request_about_another_log_or_file_is_refused(
    broker: Broker, changes: dict[str, Any], why: str
) -> None:
    answer = await broker.swap(await broker.cleaned(), **changes)
    assert answer.error_code != 0
    assert why in answer.error_message
    assert broker.offsets == list(range(12))


async def test_the_segments_must_be_the_ones_that_were_read(broker: Broker) -> None:
    request = await broker.cleaned()
    first, second, third = request.replaced
    for replaced in (
        [first, third],
        [msgspec.structs.replace(first, size_bytes=first.size_bytes + 1), second, third],
        [msgspec.structs.replace(first, base_offset=1), second, third],
        [first, second],
    ):
        answer = await broker.swap(request, replaced=replaced)
        assert answer.error_code == ErrorCode.OPERATION_NOT_ATTEMPTED
    assert broker.offsets == list(range(12))


async def test_a_cleaned_file_with_a_flipped_bit_is_refused(broker: Broker) -> None:
    request = await broker.cleaned()
    (name,) = [name for name in broker.stage.file_names() if ".log." in name]
    path = f"/data/orders-0/{name}"
    content = bytearray(broker.stage.disk.read_file(path) or b"")
    content[-1] ^= 1
    broker.stage.disk.write_file(path, content)
    answer = await broker.swap(request)
    assert "CRC" in answer.error_message
    assert broker.offsets == list(range(12))


def retention(broker: Broker) -> None:
    broker.stage.log.delete_segments_below(4)


def truncation(broker: Broker) -> None:
    broker.stage.log.truncate_to(10)


def deletion(broker: Broker) -> None:
    broker.held.clear()


def another_policy(broker: Broker) -> None:
    broker.stage.log.config = with_config(cleanup_policy=frozenset(("delete",)))


def open_transaction(broker: Broker) -> None:
    broker.stage.undecided = 5
    broker.refresh()


def cleaner_off(broker: Broker) -> None:
    broker.services.cluster = cast(Any, SimpleNamespace(config=BrokerConfig(log_cleaner_enable=False)))


@pytest.mark.parametrize("meanwhile", [retention, truncation, deletion, another_policy, open_transaction, cleaner_off])
async def test_what_happens_while_the_file_is_checked_is_seen(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Broker], None]
) -> None:
    request = await broker.cleaned()
    check = swap_segments.check_cleaned

    def slow_check(*arguments: Any) -> Any:
        found = check(*arguments)
        meanwhile(broker)
        return found

    monkeypatch.setattr(swap_segments, "check_cleaned", slow_check)
    before = broker.stage.file_names()
    answer = await broker.swap(request)
    assert answer.error_code != 0
    assert not [name for name in broker.stage.file_names() if name.endswith(".swap")]
    assert set(before) - set(broker.stage.file_names()) <= {
        f"{base:020d}{suffix}" for base in (0, 8, 12) for suffix in (".log", ".index", ".timeindex", ".snapshot")
    }
    discard_leftovers(broker.stage.disk, "/data/orders-0")
    end = broker.stage.log.log_end_offset
    assert broker.offsets == list(range(broker.stage.log.log_start_offset, end))


async def test_producers_go_on_while_the_file_is_checked(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await broker.cleaned()
    check = swap_segments.check_cleaned

    def slow_check(*arguments: Any) -> Any:
        for number in range(5):
            broker.stage.append((b"new", b"%d" % number))
        broker.stage.close_segment()
        broker.refresh()
        return check(*arguments)

    monkeypatch.setattr(swap_segments, "check_cleaned", slow_check)
    assert (await broker.swap(request)).error_code == 0
    assert broker.offsets == [9, 10, 11, 12, 13, 14, 15, 16]
