from broker.partition.disk_guard import DiskGuard

FLOOR_BYTES = 256 * 2**20


class Disk:
    """A disk with so much free space, which counts how often it is looked at."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.looks = 0

    def usage(self) -> tuple[int, int]:
        self.looks += 1
        return self.free_bytes, 2**40


def test_a_roomy_disk_is_looked_at_once_a_second() -> None:
    disk = Disk(FLOOR_BYTES + 2**34)
    guard = DiskGuard(disk.usage, floor_bytes=FLOOR_BYTES)
    for millisecond in range(3_000):
        assert guard.refusal(millisecond / 1_000) == ""
    assert disk.looks == 3


def test_the_fastest_producer_is_refused_within_ten_milliseconds_of_the_floor() -> None:
    bytes_per_millisecond = 700_000
    disk = Disk(FLOOR_BYTES + 400_000_000)
    guard = DiskGuard(disk.usage, floor_bytes=FLOOR_BYTES)
    millisecond = 0
    while guard.refusal(millisecond / 1_000) == "":
        millisecond += 1
        disk.free_bytes -= bytes_per_millisecond
        assert disk.free_bytes > 0, "the disk was full before produce was refused"
    assert disk.free_bytes > FLOOR_BYTES - 11 * bytes_per_millisecond


def test_below_the_floor_the_reason_names_both_numbers_until_there_is_room_again() -> None:
    disk = Disk(FLOOR_BYTES - 1)
    guard = DiskGuard(disk.usage, floor_bytes=FLOOR_BYTES)
    assert f"{FLOOR_BYTES - 1} bytes are free" in guard.refusal(0.0)
    assert f"disk.free.floor.bytes={FLOOR_BYTES}" in guard.refusal(0.5)
    disk.free_bytes = FLOOR_BYTES
    assert guard.refusal(1.0) == ""


def test_not_knowing_the_free_space_is_no_reason_to_refuse() -> None:
    def broken() -> tuple[int, int]:
        raise OSError("stale file handle")

    guard = DiskGuard(broken, floor_bytes=FLOOR_BYTES)
    assert guard.refusal(0.0) == ""
    assert guard.free_bytes == -1
