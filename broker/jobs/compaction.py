"""One compaction run on one broker: read the inventory, plan, clean the due partitions, have the broker swap.

Runs where the broker's files are: the worker reads closed segments and writes cleaned ones beside them. The broker judges
every swap against its live state, so this may run twice, late, or be killed at any moment: the worst outcome is a
``.cleaned`` file that the next attempt removes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from broker.client.blocking import Client
from broker.compaction.plan import PlannedCompaction, plan
from broker.jobs import runs
from broker.jobs.attempt import Watch, carry_out
from broker.jobs.compaction_pace import Pace, Stopped
from broker.jobs.compaction_partition import PartitionOutcome, compact_partition
from broker.models import JobRun
from broker.protocol.private import CompactionInventoryResponse
from broker.storage.checkpoints import META_PROPERTIES_FILE, MetaProperties
from broker.storage.filesystem import FileSystem, RealFileSystem

LOOK_SECONDS = 1.0
"""How often progress is written and a request to cancel is seen."""
RUN_SECONDS_MAX = 3_000.0
"""A run ends by itself then, and the next one continues."""
PROGRESS_STEPS = 100


class WrongMachine(Exception):
    """The broker's log directory is not where the broker says, seen from here."""


@dataclass(slots=True)
class Progress:
    """What a run has done so far; true also when it ends early."""

    planned: Sequence[PlannedCompaction] = ()
    outcomes: list[PartitionOutcome] = field(default_factory=list)
    backoff_ms: int = 0
    idle_reason: str = ""
    """Why nothing was looked at."""

    @property
    def segments_deleted(self) -> int:
        """Replaced by fewer or smaller ones."""
        return sum(outcome.segments_replaced for outcome in self.outcomes)

    @property
    def bytes_freed(self) -> int:
        return max(0, sum(outcome.bytes_saved for outcome in self.outcomes))

    @property
    def error(self) -> str:
        """What an operator must look at; partitions that only changed meanwhile are no error."""
        failed = [outcome for outcome in self.outcomes if outcome.error]
        more = f" (and {len(failed) - 1} more partitions)" if len(failed) > 1 else ""
        return f"{failed[0].name}: {failed[0].error}{more}" if failed else ""

    def detail(self) -> dict[str, Any]:
        return {
            "planned": len(self.planned),
            "backoff_ms": self.backoff_ms,
            "idle_reason": self.idle_reason,
            "compacted": runs.bounded([one.row() for one in self.outcomes if one.segments_replaced]),
            "refused": runs.bounded([one.refusal() for one in self.outcomes if one.why]),
        }


def run(job: JobRun, filesystem: FileSystem | None = None) -> JobRun:
    """Do a claimed run to its end and return the finished row. Expected failures end up in the row."""
    progress = Progress()
    return carry_out(
        job,
        progress,
        lambda client, watch: apply(
            client,
            job.topic,
            progress,
            watch,
            filesystem=filesystem or RealFileSystem(),
            on_demand=job.trigger != JobRun.Trigger.BEAT,
        ),
        expected=(WrongMachine, OSError),
        out_of_time="It took too long and was stopped. What was swapped stays; the next run continues.",
    )


def apply(
    client: Client,
    topic: str,
    progress: Progress,
    watch: Watch,
    *,
    filesystem: FileSystem,
    on_demand: bool,
) -> bool:
    """Plan and carry out; False when it was cancelled in between. Out of time, the next run continues."""
    inventory = client.compaction_inventory([topic] if topic else [])
    settings = inventory.settings
    assert settings is not None, "a broker tells its settings"
    progress.backoff_ms = settings.backoff_ms
    if not settings.enabled:
        progress.idle_reason = "log.cleaner.enable is false or log.cleaner.threads is 0 on this broker."
        return True
    progress.planned = plan(inventory.partitions, inventory.sampled_at_ms, on_demand=on_demand)
    if not progress.planned:
        return True
    check_machine(inventory, filesystem)
    total_bytes = sum(planned.dirty_bytes + planned.clean_bytes for planned in progress.planned)
    pace = Pace(bytes_per_second_max=settings.io_bytes_per_second_max, seconds_max=RUN_SECONDS_MAX)
    was_cancelled = False
    watch.report(0, PROGRESS_STEPS)
    with ThreadPoolExecutor(settings.threads, thread_name_prefix="compaction") as pool:
        waiting: set[Future[PartitionOutcome]] = {
            pool.submit(compact_partition, client, filesystem, inventory, planned, pace) for planned in progress.planned
        }
        try:
            while waiting:
                done, waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED)
                progress.outcomes += [outcome for one in done if (outcome := _outcome(one)) is not None]
                # Every byte is read twice and written once at the most.
                share = pace.moved_bytes / max(1, 3 * total_bytes)
                watch.report(min(PROGRESS_STEPS - 1, int(PROGRESS_STEPS * share)), PROGRESS_STEPS)
                if not was_cancelled and watch.cancelled():
                    was_cancelled = True
                    pace.stop()
        finally:
            pace.stop()
            for one in waiting:
                one.cancel()
    if not pace.was_stopped_early:
        watch.report(PROGRESS_STEPS, PROGRESS_STEPS)
    return not (was_cancelled and pace.was_stopped_early)


def make_plan(client: Client, topic: str = "", *, on_demand: bool = False) -> list[PlannedCompaction]:
    """What compaction would do now on the broker behind ``client``, by that broker's own clock."""
    inventory = client.compaction_inventory([topic] if topic else [])
    return plan(inventory.partitions, inventory.sampled_at_ms, on_demand=on_demand)


def check_machine(inventory: CompactionInventoryResponse, filesystem: FileSystem) -> None:
    """Raises ``WrongMachine`` unless the broker's log directory is found here under its own name and id."""
    where = f"the log directory {inventory.directory} of broker {inventory.broker_id}"
    advice = (
        f"Compaction reads the broker's files: run a worker on its machine that consumes the queue "
        f"maintenance.{inventory.broker_id}."
    )
    content = filesystem.read_file(f"{inventory.directory}/{META_PROPERTIES_FILE}")
    if content is None:
        raise WrongMachine(f"There is no {where} on this machine. {advice}")
    try:
        found = MetaProperties.decode(content).directory_id
    except ValueError as error:
        raise WrongMachine(f"What is at {where} cannot be recognised: {error}. {advice}") from error
    if found != inventory.directory_id:
        raise WrongMachine(f"What is at {where} on this machine is another directory. {advice}")


def _outcome(done: Future[PartitionOutcome]) -> PartitionOutcome | None:
    """``None`` for work that never began because the run was stopped."""
    if done.cancelled():
        return None
    try:
        return done.result()
    except Stopped:
        return None
