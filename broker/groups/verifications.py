"""Transactions that are being verified: the moment between asking their coordinator and writing.

Owns: which askings are under way. A marker that comes in between ends the transaction, so the answer "it is open" is
worth nothing any more: written now, the offset would belong to a transaction that nobody will ever end (KIP-890).

Volatile, bounded by the requests under way. A shard that is thrown away takes its askings along.
"""

from __future__ import annotations

from broker.types import ProducerEpoch, ProducerId

TRANSACTIONS_V2 = 2
"""``transaction_version`` of a marker whose epoch is above that of the data it ends."""


class Verifications:
    def __init__(self) -> None:
        self._under_way: dict[ProducerId, dict[int, ProducerEpoch]] = {}
        self._last = 0

    def begin(self, producer_id: ProducerId, epoch: ProducerEpoch) -> int:
        """Call before asking; ``end`` takes the token."""
        self._last += 1
        self._under_way.setdefault(producer_id, {})[self._last] = epoch
        return self._last

    def end(self, producer_id: ProducerId, token: int) -> bool:
        """Whether nothing has ended the producer's transaction meanwhile."""
        tokens = self._under_way.get(producer_id, {})
        if token not in tokens:
            return False
        del tokens[token]
        if not tokens:
            del self._under_way[producer_id]
        return True

    def void(self, producer_id: ProducerId, marker_epoch: ProducerEpoch, transaction_version: int) -> None:
        """The producer's marker has come. Under version 2 it carries the epoch of the *next* transaction: who asks with that
        epoch asks for the next one, and waits for just this marker."""
        tokens = self._under_way.pop(producer_id, {})
        if transaction_version >= TRANSACTIONS_V2:
            kept = {token: epoch for token, epoch in tokens.items() if epoch >= marker_epoch}
            if kept:
                self._under_way[producer_id] = kept
