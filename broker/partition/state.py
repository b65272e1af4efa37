"""The replication core of one partition: who is in sync, what is committed, under which leader epoch.

Pure: events come in as method calls with values, effects go out as values; no clock, no file, no socket.
``driver.py`` performs the effects.

Theory of operation
    The leader knows the log end of every replica: its own by ``on_append``, a follower's by the offset it fetches
    (a follower asks for an offset only when everything before it is on its own disk). A record is *committed* when
    every member of the in-sync set has it; ``high_watermark`` is the end of the committed prefix and the end of
    what consumers may see.

    The in-sync set belongs to the controller. The leader only *proposes* a change (compare-and-set on
    ``partition_epoch``). While a proposal is out, the *maximal* set (committed ∪ proposed) has to have a record
    before it counts, whichever way the controller decides.

    A follower is caught up while there is nothing that it lacks; what it lacks counts from the tick that saw it complete
    last, or from its own fetches, whichever is later. A member that asks for less than what is committed has lost data
    that it had: it is proposed to leave at once, because nobody may elect it.

    Times are milliseconds of the monotonic clock.

Invariants
    high_watermark ≤ log_end_offset
    high_watermark never decreases while leader_epoch stays
    high_watermark ≤ log end of every member of the maximal in-sync set at the moment it advanced
    high_watermark does not advance while |isr| < min(min.insync.replicas, |replicas|)            (KIP-966)
    leader ∈ isr ⊆ replicas
    leader_epoch never decreases

=============  ==================================================  ==========================================
role           append                                              fetch of a follower
=============  ==================================================  ==========================================
leader         own log end moves; HW may advance                   its log end moves; HW may advance, ISR may grow
follower       NOT_LEADER_OR_FOLLOWER                              NOT_LEADER_OR_FOLLOWER
=============  ==================================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from broker import faultpoints
from broker.errors import ErrorCode
from broker.types import NO_EPOCH, BrokerId, LeaderEpoch, Offset

ACKS_ALL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWatermarkAdvanced:
    """Release what waits for commit and wake consumers; the new value is ``state.high_watermark``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeIsr:
    """Ask the controller for this in-sync set, under the condition of both epochs."""

    isr: frozenset[BrokerId]
    leader_epoch: LeaderEpoch
    partition_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooFewInSync:
    """The in-sync set fell below ``min.insync.replicas``: producers that wait for all of it should not wait on."""


Effect: TypeAlias = HighWatermarkAdvanced | ProposeIsr | TooFewInSync
Effects: TypeAlias = tuple[Effect, ...]

NOTHING: Effects = ()
ADVANCED: Effects = (HighWatermarkAdvanced(),)
"""One shared value: an append allocates nothing for its effects."""
TOO_FEW: Effects = (TooFewInSync(),)
NO_BROKERS: Mapping[BrokerId, int] = MappingProxyType({})


@dataclass(slots=True)
class FollowerState:
    """What the leader knows of one follower in the current epoch. Offsets are -1 until it has fetched."""

    log_end_offset: Offset = -1
    log_start_offset: Offset = -1
    broker_epoch: int = -1
    """The registration it fetched with; -1: not told."""
    caught_up_ms: int = 0
    """The last moment at which it had everything the leader had then."""
    leader_end_at_last_fetch: Offset = 0
    last_fetch_ms: int = 0


class PartitionState:
    __slots__ = (
        "_alone",
        "epoch_start_offset",
        "followers",
        "growth_not_before_ms",
        "high_watermark",
        "is_leader",
        "isr",
        "leader",
        "leader_epoch",
        "log_end_offset",
        "min_insync_replicas",
        "node_id",
        "partition_epoch",
        "proposed_isr",
        "replicas",
    )

    def __init__(
        self,
        node_id: BrokerId,
        *,
        min_insync_replicas: int = 1,
        log_end_offset: Offset = 0,
        high_watermark: Offset = 0,
    ) -> None:
        """``high_watermark``: as it was when the log was last open; not more of it counts than there is."""
        self.node_id = node_id
        self.is_leader = False
        self.leader: BrokerId = -1
        self.leader_epoch: LeaderEpoch = NO_EPOCH
        self.partition_epoch = -1
        self.replicas: tuple[BrokerId, ...] = ()
        self.isr: frozenset[BrokerId] = frozenset()
        self.proposed_isr: frozenset[BrokerId] | None = None
        self.min_insync_replicas = min_insync_replicas
        self.log_end_offset = log_end_offset
        self.high_watermark = min(high_watermark, log_end_offset)
        self.epoch_start_offset: Offset = 0
        """Where the log ended when this broker began to lead: what was there is committed once others confirm it."""
        self.followers: dict[BrokerId, FollowerState] = {}
        self.growth_not_before_ms = 0
        """The controller refused a member a moment ago; asking again with every fetch would only be noise."""
        self._alone = False

    # Roles ------------------------------------------------------------------------------------------

    def become_leader(
        self,
        *,
        leader_epoch: LeaderEpoch,
        partition_epoch: int,
        replicas: tuple[BrokerId, ...],
        isr: frozenset[BrokerId],
        log_end_offset: Offset,
        high_watermark: Offset,
        now_ms: int,
    ) -> Effects:
        """Lead, or go on leading under a newer epoch. What followers had is unknown until they fetch again."""
        assert leader_epoch >= self.leader_epoch, f"leader epoch {leader_epoch} after {self.leader_epoch}"
        assert self.node_id in isr <= set(replicas), f"leader {self.node_id} not in isr {isr} of {replicas}"
        self.is_leader = True
        self.leader = self.node_id
        self.leader_epoch = leader_epoch
        self.partition_epoch = partition_epoch
        self.replicas = replicas
        self.isr = isr
        self.proposed_isr = None
        self.log_end_offset = log_end_offset
        self.epoch_start_offset = log_end_offset
        self.high_watermark = min(max(high_watermark, self.high_watermark), log_end_offset)
        self.growth_not_before_ms = 0
        self.followers = {
            replica: FollowerState(caught_up_ms=now_ms, last_fetch_ms=now_ms)
            for replica in replicas
            if replica != self.node_id
        }
        self._judge_alone()
        return self._advance() + (NOTHING if self.has_enough_in_sync else TOO_FEW)

    def become_follower(
        self,
        *,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
        partition_epoch: int,
        replicas: tuple[BrokerId, ...],
        isr: frozenset[BrokerId],
    ) -> Effects:
        assert leader_epoch >= self.leader_epoch, f"leader epoch {leader_epoch} after {self.leader_epoch}"
        self.is_leader = False
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.partition_epoch = partition_epoch
        self.replicas = replicas
        self.isr = isr
        self.proposed_isr = None
        self.followers = {}
        self._alone = False
        return NOTHING

    def set_min_insync_replicas(self, count: int) -> Effects:
        enough = self.has_enough_in_sync
        self.min_insync_replicas = count
        self._judge_alone()
        return self._advance() + self._shortage(enough) if self.is_leader else NOTHING

    # Questions --------------------------------------------------------------------------------------

    @property
    def has_enough_in_sync(self) -> bool:
        """More copies than there are replicas cannot be waited for: a single one is enough by itself."""
        return len(self.isr) >= self.min_insync_replicas or len(self.isr) >= len(self.replicas)

    def append_refusal(self, acks: int) -> ErrorCode | None:
        """Why an append may not even begin."""
        if not self.is_leader:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if acks == ACKS_ALL and not self.has_enough_in_sync:
            return ErrorCode.NOT_ENOUGH_REPLICAS
        return None

    @property
    def offsets_are_settled(self) -> bool:
        """False right after an election, until the followers have confirmed what was in the log then: up to there the
        former leader may have shown records that our high watermark does not reach yet (KIP-207)."""
        return self.high_watermark >= self.epoch_start_offset

    def epoch_refusal(self, current_leader_epoch: LeaderEpoch) -> ErrorCode | None:
        """Compare the epoch a client believes in with ours; -1 means that it does not say."""
        if current_leader_epoch < 0 or current_leader_epoch == self.leader_epoch or faultpoints.IGNORE_LEADER_EPOCH:
            return None
        if current_leader_epoch < self.leader_epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        return ErrorCode.UNKNOWN_LEADER_EPOCH

    # Events -----------------------------------------------------------------------------------------

    def on_append(self, log_end_offset: Offset) -> Effects:
        self.log_end_offset = log_end_offset
        if self._alone:
            self.high_watermark = log_end_offset
            return ADVANCED
        return self._advance()

    def on_truncated(self, log_end_offset: Offset) -> None:
        """A follower cut its log. The high watermark it was told may lie above; it must not be exposed."""
        assert not self.is_leader, "a leader never truncates"
        self.log_end_offset = log_end_offset
        self.high_watermark = min(self.high_watermark, log_end_offset)

    def on_leader_high_watermark(self, high_watermark: Offset, log_end_offset: Offset) -> Effects:
        """A follower learns the leader's watermark with the data; it knows no more than it has."""
        assert not self.is_leader, "a leader computes its own high watermark"
        self.log_end_offset = log_end_offset
        known = high_watermark if high_watermark < log_end_offset else log_end_offset
        if known <= self.high_watermark:
            return NOTHING
        self.high_watermark = known
        return ADVANCED

    def on_follower_fetch(
        self,
        replica: BrokerId,
        fetch_offset: Offset,
        *,
        now_ms: int,
        broker_epoch: int = 0,
        may_join: bool = True,
        log_start_offset: Offset = -1,
    ) -> Effects:
        """A follower asks for ``fetch_offset``: it has everything before it. ``may_join``: its registration is the one
        that is known here, and stays."""
        follower = self.followers.get(replica)
        if not self.is_leader or follower is None:
            return NOTHING
        if fetch_offset >= self.log_end_offset:
            follower.caught_up_ms = now_ms
        elif fetch_offset >= follower.leader_end_at_last_fetch:
            # It has what we had when it last asked, so it was caught up then, even if we have grown since.
            follower.caught_up_ms = max(follower.caught_up_ms, follower.last_fetch_ms)
        follower.log_end_offset = fetch_offset
        follower.log_start_offset = log_start_offset
        follower.broker_epoch = broker_epoch
        follower.leader_end_at_last_fetch = self.log_end_offset
        follower.last_fetch_ms = now_ms
        if replica not in self.isr:
            growth = self._propose_growth(replica, follower, now_ms) if may_join else NOTHING
            return growth + self._advance()
        if fetch_offset < self.high_watermark and self.proposed_isr is None:
            return self._propose(self.isr - {replica})
        return self._advance()

    def on_tick(self, *, now_ms: int, lag_ms_max: int, broker_epochs: Mapping[BrokerId, int] = NO_BROKERS) -> Effects:
        """Propose to drop members that have not been caught up for ``replica.lag.time.max.ms``, else to admit whoever is
        complete and alive: ``broker_epochs`` has the present registrations. A follower with nothing new to fetch does not
        speak of a partition again, so what its fetch could not bring about is tried here."""
        if not self.is_leader:
            return NOTHING
        end, isr = self.log_end_offset, self.isr
        lagging: set[BrokerId] = set()
        complete: set[BrokerId] = set()
        for replica, follower in self.followers.items():
            if follower.log_end_offset >= end:
                follower.caught_up_ms = now_ms
                if replica not in isr and follower.broker_epoch == broker_epochs.get(replica):
                    complete.add(replica)
            elif replica in isr and now_ms - follower.caught_up_ms > lag_ms_max:
                lagging.add(replica)
        if self.proposed_isr is not None:
            return NOTHING
        if lagging:
            return self._propose(isr - lagging)
        if complete and now_ms >= self.growth_not_before_ms:
            return self._propose(isr | complete)
        return NOTHING

    def on_stood_still(self, *, now_ms: int) -> None:
        """This broker itself did not run for a while, so it cannot tell who fell behind: everybody's time begins anew."""
        for follower in self.followers.values():
            follower.caught_up_ms = now_ms

    def on_isr_decided(
        self, isr: frozenset[BrokerId], partition_epoch: int, *, replicas: tuple[BrokerId, ...] | None = None
    ) -> Effects:
        """The controller's word, whether it grants our proposal or not. Older decisions are ignored.

        ``replicas``: those of the decision, where a reassignment may have changed them.
        """
        if partition_epoch <= self.partition_epoch:
            return NOTHING
        enough = self.has_enough_in_sync
        if replicas is not None and replicas != self.replicas:
            self._set_replicas(replicas)
        assert isr <= set(self.replicas), f"isr {isr} of {self.replicas}"
        self.isr = isr
        self.partition_epoch = partition_epoch
        self.proposed_isr = None
        self._judge_alone()
        return self._advance() + self._shortage(enough) if self.is_leader else NOTHING

    def on_proposal_refused(self, *, not_before_ms: int = 0) -> Effects:
        """The controller did not take the proposal and nothing changed. No growth is proposed before ``not_before_ms``."""
        self.proposed_isr = None
        self.growth_not_before_ms = not_before_ms
        self._judge_alone()
        return self._advance() if self.is_leader else NOTHING

    # Decisions --------------------------------------------------------------------------------------

    def _maximal_isr(self) -> frozenset[BrokerId]:
        return self.isr if self.proposed_isr is None else self.isr | self.proposed_isr

    def _set_replicas(self, replicas: tuple[BrokerId, ...]) -> None:
        self.replicas = replicas
        if self.is_leader:
            known = self.followers
            self.followers = {
                replica: known.get(replica) or FollowerState() for replica in replicas if replica != self.node_id
            }

    def _shortage(self, had_enough: bool) -> Effects:
        return TOO_FEW if had_enough and not self.has_enough_in_sync else NOTHING

    def _judge_alone(self) -> None:
        """With nobody to wait for, an append is committed by itself: the common case of one copy, kept cheap."""
        self._alone = self.is_leader and self._maximal_isr() == {self.node_id} and self.has_enough_in_sync

    def _advance(self) -> Effects:
        if not self.has_enough_in_sync:
            return NOTHING
        committed = self.log_end_offset
        for replica in self._maximal_isr():
            if replica != self.node_id:
                committed = min(committed, self.followers[replica].log_end_offset)
        if committed <= self.high_watermark:
            return NOTHING
        self.high_watermark = committed
        return ADVANCED

    def _propose_growth(self, replica: BrokerId, follower: FollowerState, now_ms: int) -> Effects:
        """A follower joins when it has all that is committed and all that earlier epochs wrote."""
        if self.proposed_isr is not None or now_ms < self.growth_not_before_ms:
            return NOTHING
        if follower.log_end_offset < max(self.high_watermark, self.epoch_start_offset):
            return NOTHING
        return self._propose(self.isr | {replica})

    def _propose(self, isr: frozenset[BrokerId]) -> Effects:
        self.proposed_isr = isr
        self._judge_alone()
        return (ProposeIsr(isr=isr, leader_epoch=self.leader_epoch, partition_epoch=self.partition_epoch),)
