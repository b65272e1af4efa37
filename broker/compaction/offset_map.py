"""The newest offset of every key, in memory of a fixed size.

Owns: the one table a compaction needs, of which log.cleaner.dedupe.buffer.size bytes may be spent. A key is known by a
digest of 16 bytes, so an entry takes 24 bytes whatever the key's length, and a table that is full says so: the pass
then ends there and a further pass continues (see docs/decisions/053).

Memory is reserved, not touched: pages cost nothing until an entry lands in them.

What must stay true: ``len(map) <= capacity``; an offset once put for a key only grows.
"""

from __future__ import annotations

from hashlib import blake2b

DIGEST_BYTES = 16
OFFSET_BYTES = 8
ENTRY_BYTES = DIGEST_BYTES + OFFSET_BYTES
SLOTS_MIN = 17
ABSENT = -1


class OffsetMap:
    __slots__ = ("_count", "_digests", "_offsets", "_slots", "capacity", "latest_offset")

    def __init__(self, size_bytes: int, *, load_factor: float = 0.9, keys_max: int | None = None) -> None:
        """``keys_max``: more keys than this will not come, so no more is reserved."""
        wanted = size_bytes // ENTRY_BYTES
        if keys_max is not None:
            # With room for rounding down to a prime.
            wanted = min(wanted, int(1.05 * keys_max / load_factor) + 20)
        self._slots = _prime_up_to(max(SLOTS_MIN, wanted))
        self._digests = bytearray(self._slots * DIGEST_BYTES)
        self._offsets = memoryview(bytearray(self._slots * OFFSET_BYTES)).cast("q")
        """Offset + 1, so that fresh memory is an empty table."""
        self._count = 0
        self.capacity = max(1, int(self._slots * load_factor))
        self.latest_offset = ABSENT
        """The last offset the map has seen: what lies behind is not its business."""

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self.capacity

    def clear(self, latest_offset: int) -> None:
        """Start anew behind ``latest_offset``, in the same memory."""
        self._offsets.release()
        self._offsets = memoryview(bytearray(self._slots * OFFSET_BYTES)).cast("q")
        self._count = 0
        self.latest_offset = latest_offset

    def put(self, key: bytes, offset: int) -> None:
        """``offset`` is the newest of ``key`` so far. The map must not be full."""
        digest = blake2b(key, digest_size=DIGEST_BYTES).digest()
        slot, found = self._find(digest)
        if not found:
            assert self._count < self.capacity, "ask is_full first"
            at = slot * DIGEST_BYTES
            self._digests[at : at + DIGEST_BYTES] = digest
            self._count += 1
        self._offsets[slot] = offset + 1

    def get(self, key: bytes) -> int:
        """The newest offset of ``key``; -1 if the map has not seen it."""
        if not self._count:
            return ABSENT
        slot, found = self._find(blake2b(key, digest_size=DIGEST_BYTES).digest())
        return self._offsets[slot] - 1 if found else ABSENT

    def _find(self, digest: bytes) -> tuple[int, bool]:
        """The slot that holds ``digest``, or the free one where it belongs. Double hashing: a full table stays quick."""
        digests, offsets, slots = self._digests, self._offsets, self._slots
        slot = int.from_bytes(digest[:8], "little") % slots
        step = 0
        while offsets[slot]:
            at = slot * DIGEST_BYTES
            if digests[at : at + DIGEST_BYTES] == digest:
                return slot, True
            if not step:
                step = 1 + int.from_bytes(digest[8:], "little") % (slots - 1)
            slot = (slot + step) % slots
        return slot, False


def _prime_up_to(number: int) -> int:
    """The largest prime not above ``number``: then every step of the double hashing visits every slot."""
    candidate = number if number % 2 else number - 1
    while any(candidate % divisor == 0 for divisor in range(3, int(candidate**0.5) + 1, 2)):
        candidate -= 2
    return candidate
