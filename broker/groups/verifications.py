"""Transactions that are being verified: the moment between asking their coordinator and writing.

Owns: which askings are under way. A marker that comes in between ends the transaction, so the answer "it is open" is
worth nothing any more: written now, the offset would belong to a transaction that nobody will ever end (KIP-890).

Volatile, bounded by the requests under way. A shard that is thrown away takes its askings along.
"""

from __future__ import annotations

from broker.types import ProducerId


class Verifications:
    def __init__(self) -> None:
        self._under_way: dict[ProducerId, set[int]] = {}
        self._last = 0

    def begin(self, producer_id: ProducerId) -> int:
        """Call before asking; ``end`` takes the token."""
        self._last += 1
        self._under_way.setdefault(producer_id, set()).add(self._last)
        return self._last

    def end(self, producer_id: ProducerId, token: int) -> bool:
        """Whether nothing has ended the producer's transaction meanwhile."""
        tokens = self._under_way.get(producer_id, set())
        if token not in tokens:
            return False
        tokens.discard(token)
        if not tokens:
            del self._under_way[producer_id]
        return True

    def void(self, producer_id: ProducerId) -> None:
        """The producer's marker has come."""
        self._under_way.pop(producer_id, None)
