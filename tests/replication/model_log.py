"""A log of single records, each known by its offset and epoch, with the real epoch index; and how a leader answers."""

from __future__ import annotations

from broker.replication.follower import Effects, RestartAt, Truncate
from broker.storage.leader_epochs import LeaderEpochs

OUT_OF_RANGE = "out of range"


class ModelLog:
    """``epochs_at[i]`` is the epoch of the record at ``log_start_offset + i``."""

    def __init__(self) -> None:
        self.log_start_offset = 0
        self.epochs_at: list[int] = []
        self.index = LeaderEpochs()

    @property
    def log_end_offset(self) -> int:
        return self.log_start_offset + len(self.epochs_at)

    def records(self) -> list[tuple[int, int]]:
        return [(self.log_start_offset + at, epoch) for at, epoch in enumerate(self.epochs_at)]

    def lead(self, epoch: int) -> None:
        self.index.assign(epoch, self.log_end_offset)

    def follow(self) -> None:
        self.index.truncate_from_end(self.log_end_offset)

    def append(self, epoch: int) -> None:
        self.index.assign(epoch, self.log_end_offset)
        self.epochs_at.append(epoch)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        return self.index.end_offset(epoch, self.log_end_offset)

    def truncate_to(self, offset: int) -> None:
        del self.epochs_at[max(0, offset - self.log_start_offset) :]
        self.index.truncate_from_end(self.log_end_offset)

    def restart_at(self, offset: int) -> None:
        self.log_start_offset = offset
        self.epochs_at.clear()
        self.index.clear()

    def delete_below(self, offset: int) -> None:
        offset = min(offset, self.log_end_offset)
        if offset > self.log_start_offset:
            del self.epochs_at[: offset - self.log_start_offset]
            self.log_start_offset = offset
            self.index.truncate_from_start(offset)

    def copy_from(self, leader: ModelLog, count: int) -> None:
        at = self.log_end_offset - leader.log_start_offset
        for epoch in leader.epochs_at[at : at + count]:
            self.append(epoch)

    def perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Truncate):
                self.truncate_to(effect.offset)
            elif isinstance(effect, RestartAt):
                self.restart_at(effect.offset)


def answer(leader: ModelLog, offset: int, last_epoch: int) -> str | tuple[int, int] | None:
    """``None``: the logs agree up to ``offset``."""
    if last_epoch >= 0:
        epoch, end = leader.end_offset_for_epoch(last_epoch)
        if epoch < 0 or end < 0:
            return OUT_OF_RANGE
        if epoch < last_epoch or end < offset:
            return epoch, end
    if not leader.log_start_offset <= offset <= leader.log_end_offset:
        return OUT_OF_RANGE
    return None


def agree_naively(follower: ModelLog, leader: ModelLog) -> None:
    """Cut the follower to the longest common prefix, by looking at every record."""
    common = set(follower.records()) & set(leader.records())
    end = follower.log_start_offset
    for record in follower.records():
        if record not in common and record[0] >= leader.log_start_offset:
            break
        end = record[0] + 1
    follower.truncate_to(end)
    if not leader.log_start_offset <= follower.log_end_offset <= leader.log_end_offset:
        follower.restart_at(max(leader.log_start_offset, min(follower.log_end_offset, leader.log_end_offset)))
