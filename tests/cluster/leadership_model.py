"""A model of one replicated partition around the controller's real decisions, for the simulation that uses it.

Real are: the decisions, the fold of what they commit, and the preconditions of every commit. A model are: the store (keys and
versions), the processes with their views of the image, which lag, and the logs, which are lists of numbers. Leaders do what
Kafka's rules allow them at worst: they propose to drop anybody at any time, believe old images, and go on as leaders until they
hear otherwise.

What must be true after every step is in ``Model.check``: everybody whom the controller might make a leader has every record
that was committed, unless a reboot took data from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from broker.cluster import records
from broker.cluster.broker_admin import decide_broker_state
from broker.cluster.config_admin import decide_alter_configs
from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.cluster.controller import decide_election, decide_leadership
from broker.cluster.election import decide_elections
from broker.cluster.image import EMPTY_IMAGE, ClusterImage, PartitionImage, fold
from broker.cluster.isr_changes import IsrProposal, decide_isr_changes
from broker.cluster.partition_changes import LOSSY_CAUSES
from broker.cluster.reassignment import Reassignment, decide_reassignments
from broker.cluster.topic_admin import decide_create_topics
from broker.config.broker import BrokerConfig
from broker.metadata.store import Absent, Commit, Entry, Exists, Transaction, VersionIs
from tests.cluster.builders import placed

BROKERS = (1, 2, 3, 4)
CONFIG = BrokerConfig.from_environment({"OTTLA_MIN_INSYNC_REPLICAS": "2"})


@dataclass
class Leading:
    """What a process that believes itself leader knows in one leader epoch."""

    epoch: int
    epoch_start: int
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Follower → (log end, broker epoch), once it has fetched."""
    proposal: IsrProposal | None = None
    """Asked for again and again, and feared to be granted, until the partition has another epoch."""

    @property
    def proposed(self) -> set[int]:
        return {member for member, _ in self.proposal.isr} if self.proposal is not None else set()


@dataclass
class Process:
    view: ClusterImage
    """Lags behind the store's."""
    incarnation: str
    leading: Leading | None = None
    high_watermark: int = 0


class Model:
    def __init__(self, seed: int, *, reboots: bool) -> None:
        self.random = Random(seed)
        self.reboots = reboots
        self.image = EMPTY_IMAGE
        self.history: list[ClusterImage] = [EMPTY_IMAGE]
        self.versions: dict[str, int] = {}
        self.logs: dict[int, list[int]] = {b: [] for b in BROKERS}
        self.processes: dict[int, Process] = {}
        self.proposals: list[tuple[int, int, IsrProposal]] = []
        """On their way to the controller: (proposer, its broker epoch, proposal)."""
        self.committed: list[int] = []
        """Records below the highest high watermark that anybody had."""
        self.doubtful: set[int] = set()
        """Lost data in a reboot, and have not fetched everything again."""
        self.lossy = False
        self.leaders: dict[int, int] = {}
        """Leader epoch → leader."""
        self.lives = 0
        self.time = 0
        for broker_id in BROKERS:
            self.start(broker_id)
        self.claim()
        self.look(self.image)
        self.create()

    # The store ---------------------------------------------------------------------------------------

    def commit(self, transaction: Transaction | None) -> bool:
        """False if a precondition does not hold, as for whoever decided on an old image."""
        if transaction is None:
            return True
        for precondition in transaction.preconditions:
            version = self.versions.get(precondition.key)
            match precondition:
                case Exists():
                    holds = version is not None
                case Absent():
                    holds = version is None
                case VersionIs(version=expected):
                    holds = version == expected
            if not holds:
                return False
        self.write({**transaction.puts, **transaction.ephemeral_puts}, transaction.deletes)
        return True

    def write(self, puts: dict[str, bytes], deletes: Sequence[str] = ()) -> None:
        revision = self.image.revision + 1
        entries = tuple(Entry(key=key, value=value, version=revision) for key, value in puts.items())
        for key in deletes:
            self.versions.pop(key, None)
        for key in puts:
            self.versions[key] = revision
        before = self.partition
        self.image = fold(self.image, Commit(revision=revision, puts=entries, deletes=tuple(deletes)))
        self.history.append(self.image)
        if self.partition is not None and self.partition != before:
            self.note(self.partition)

    @property
    def partition(self) -> PartitionImage | None:
        return self.image.partition("a", 0)

    def note(self, partition: PartitionImage) -> None:
        self.lossy = self.lossy or partition.cause in LOSSY_CAUSES
        known = self.leaders.setdefault(partition.leader_epoch, partition.leader)
        assert known == partition.leader, "one leader epoch has one leader"

    def old_image(self) -> ClusterImage:
        """What somebody who decides might still believe."""
        return self.random.choice(self.history[-4:])

    # Brokers -----------------------------------------------------------------------------------------

    def start(self, broker_id: int) -> None:
        self.lives += 1
        intact = broker_id not in self.doubtful
        self.expire(broker_id)
        self.register(broker_id, f"life-{self.lives}", intact=intact)
        self.processes[broker_id] = Process(view=self.image, incarnation=f"life-{self.lives}")

    def register(self, broker_id: int, incarnation: str, *, intact: bool) -> None:
        record = records.BrokerRecord(
            id=broker_id,
            host="h",
            port=1,
            internal_host="h",
            internal_port=2,
            incarnation=incarnation,
            data_intact=intact,
        )
        self.write({records.broker_key(broker_id): records.encode(record)})

    def expire(self, broker_id: int) -> None:
        """Its session ends, whether or not its process lives."""
        gone = [key for key in (records.broker_key(broker_id), records.stopping_key(broker_id)) if key in self.versions]
        if self.image.controller_id == broker_id:
            gone.append(records.CONTROLLER)
        if gone:
            self.write({}, gone)

    def die(self, broker_id: int) -> None:
        self.processes.pop(broker_id, None)
        if self.reboots and self.random.random() < 0.3:
            log = self.logs[broker_id]
            del log[self.random.randrange(len(log) + 1) :]
            self.doubtful.add(broker_id)

    def learn(self, broker_id: int) -> None:
        """The process hears of some of what was committed since it heard last."""
        process = self.processes[broker_id]
        position = self.history.index(process.view)
        process.view = self.history[self.random.choice((-1, -1, self.random.randrange(position, len(self.history))))]
        registered = self.image.brokers.get(broker_id)
        if registered is None:  # its session was lost: it registers anew, with all it has
            self.lives += 1
            process.incarnation = f"life-{self.lives}"
            self.register(broker_id, process.incarnation, intact=broker_id not in self.doubtful)
        self.take_role(broker_id)

    def take_role(self, broker_id: int) -> None:
        process = self.processes[broker_id]
        partition = process.view.partition("a", 0)
        registered = process.view.brokers.get(broker_id)
        settled = registered is not None and registered.incarnation == process.incarnation
        if partition is None or partition.leader != broker_id:
            process.leading = None
        elif settled and process.view.is_settled(broker_id):
            if process.leading is None or process.leading.epoch != partition.leader_epoch:
                process.leading = Leading(epoch=partition.leader_epoch, epoch_start=len(self.logs[broker_id]))
                return
            asked = process.leading.proposal
            if asked is not None and asked.partition_epoch < partition.partition_epoch:
                process.leading.proposal = None

    # Replication -------------------------------------------------------------------------------------

    def append(self, broker_id: int) -> None:
        if self.processes[broker_id].leading is not None:
            self.time += 1
            self.logs[broker_id].append(self.time)
            self.advance(broker_id)

    def fetch(self, follower: int) -> None:
        process = self.processes[follower]
        partition = process.view.partition("a", 0)
        registered = process.view.brokers.get(follower)
        if partition is None or registered is None or follower == partition.leader:
            return
        source = self.processes.get(partition.leader)
        if source is None or source.leading is None or source.leading.epoch != partition.leader_epoch:
            return
        log, other = self.logs[follower], self.logs[partition.leader]
        same = next((i for i, (a, b) in enumerate(zip(log, other, strict=False)) if a != b), min(len(log), len(other)))
        del log[same:]
        log.extend(other[same : self.random.randrange(same, len(other) + 1)])
        if len(log) == len(other):
            self.doubtful.discard(follower)
        led = source.view.partition("a", 0)
        if led is not None and follower in led.replicas:
            source.leading.ends[follower] = (len(log), registered.epoch)
            self.advance(partition.leader)

    def advance(self, broker_id: int) -> None:
        process = self.processes[broker_id]
        partition, leading = process.view.partition("a", 0), process.leading
        assert partition is not None
        assert leading is not None
        minimum = int(process.view.topics_by_name["a"].configs.get("min.insync.replicas", "2"))
        if len(partition.isr) < min(minimum, len(partition.replicas)):
            return
        waited_for = {*partition.isr, *leading.proposed} - {broker_id}
        ends = [leading.ends.get(r, (0, -1))[0] for r in waited_for]
        high_watermark = min([*ends, len(self.logs[broker_id])])
        process.high_watermark = max(process.high_watermark, high_watermark)
        if not self.lossy:
            seen = self.logs[broker_id][:high_watermark]
            assert seen[: len(self.committed)] == self.committed[: len(seen)], "what was committed stays"
            self.committed = max(self.committed, seen, key=len)

    def propose(self, broker_id: int) -> None:
        process = self.processes[broker_id]
        partition, leading = process.view.partition("a", 0), process.leading
        registered = process.view.brokers.get(broker_id)
        if leading is None or partition is None or registered is None:
            return
        if leading.proposal is not None:
            self.proposals.append((broker_id, registered.epoch, leading.proposal))
            return
        caught_up = [
            r
            for r in partition.replicas
            if r not in partition.isr
            and leading.ends.get(r, (-1, -1))[0] >= max(len(self.committed), leading.epoch_start)
        ]
        members = {broker_id, *self.random.sample(partition.isr, k=self.random.randrange(len(partition.isr) + 1))}
        if caught_up and self.random.random() < 0.7:
            members = {*partition.isr, self.random.choice(caught_up)}
        epochs = {broker_id: registered.epoch, **{r: epoch for r, (_, epoch) in leading.ends.items()}}
        proposal = IsrProposal(
            topic_id=process.view.topics_by_name["a"].topic_id,
            partition=0,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            isr=[(r, epochs.get(r, -1)) for r in sorted(members)],
        )
        leading.proposal = proposal
        self.proposals.append((broker_id, registered.epoch, proposal))

    # Decisions ---------------------------------------------------------------------------------------

    def claim(self) -> None:
        if self.image.controller_id not in self.image.brokers and self.image.brokers:
            broker_id = self.random.choice(list(self.image.brokers))
            self.commit(decide_election(self.image, broker_id, "x", "session", now_ms=self.time))

    def look(self, image: ClusterImage) -> None:
        self.commit(decide_leadership(image, image.topics_by_id.values(), config=CONFIG, now_ms=self.time))

    def create(self) -> None:
        decision = decide_create_topics(
            self.image,
            [placed("a", (1, 2, 3))],
            config=CONFIG,
            random=self.random,
            new_topic_id=lambda: b"a" * 16,
            now_ms=0,
        )
        assert self.commit(decision.transaction)

    def answer(self) -> None:
        """A proposal arrives: now, late, twice, or never."""
        if not self.proposals:
            return
        proposer, epoch, proposal = self.random.choice(self.proposals)
        if self.random.random() < 0.8:
            self.proposals.remove((proposer, epoch, proposal))
        image = self.old_image()
        registered = image.brokers.get(proposer)
        if registered is not None and registered.epoch == epoch:
            decision = decide_isr_changes(image, proposer, [proposal], config=CONFIG, now_ms=self.time)
            self.commit(decision.transaction)

    def operate(self) -> None:
        image = self.old_image()
        if "a" not in image.topics_by_name:
            return
        match self.random.randrange(4):
            case 0:
                replicas = self.random.sample(BROKERS, k=self.random.randrange(1, 5))
                move = Reassignment(topic="a", partition=0, replicas=self.random.choice((replicas, None)))
                self.commit(
                    decide_reassignments(
                        image, [move], allow_factor_change=True, config=CONFIG, now_ms=self.time
                    ).transaction
                )
            case 1:
                self.commit(decide_elections(image, None, unclean=False, config=CONFIG, now_ms=self.time).transaction)
            case 2:
                state = self.random.choice(("active", "active", "draining"))
                broker_id = self.random.choice(BROKERS)
                self.commit(decide_broker_state(image, broker_id, state, now_ms=self.time).transaction)
            case _:
                minimum = ConfigChange(name="min.insync.replicas", value=str(self.random.randrange(1, 4)))
                change = ResourceChange(type=2, name="a", changes=(minimum,))
                self.commit(decide_alter_configs(image, [change], config=CONFIG, now_ms=self.time).transaction)

    # Steps -------------------------------------------------------------------------------------------

    def step(self) -> None:
        broker_id = self.random.choice(BROKERS)
        alive = broker_id in self.processes
        chance = self.random.random()
        if chance < 0.02:
            self.die(broker_id) if alive else self.start(broker_id)
        elif chance < 0.04:
            if not alive or self.random.random() < 0.3:
                self.expire(broker_id)  # it died, or it hung for too long
        elif chance < 0.06:
            self.operate()
        elif not alive and chance < 0.12:
            self.start(broker_id)
        elif chance < 0.25:
            self.claim()
            self.look(self.old_image())
        elif chance < 0.35:
            self.answer()
        elif not alive:
            return
        else:
            self.replicate(broker_id, chance)
        self.check()

    def replicate(self, broker_id: int, chance: float) -> None:
        if chance < 0.42:
            self.propose(broker_id)
        elif chance < 0.6:
            self.learn(broker_id)
        elif chance < 0.75:
            self.append(broker_id)
        else:
            for follower in self.random.sample(
                sorted(self.processes), k=self.random.randrange(1, len(self.processes) + 1)
            ):
                self.fetch(follower)

    def check(self) -> None:
        partition = self.partition
        assert partition is not None
        assert (partition.leader in partition.isr) if partition.isr else (partition.leader == -1)
        assert set(partition.elr) <= set(partition.replicas) - set(partition.isr)
        assert set(partition.isr) <= set(partition.replicas)
        if self.lossy:
            assert self.reboots, "without a reboot there always is somebody who has everything"
            return
        for broker_id in {*partition.isr, *partition.elr} - self.doubtful:
            assert self.logs[broker_id][: len(self.committed)] == self.committed, f"broker {broker_id} may lead"
        if not self.reboots:
            assert partition.isr or partition.elr

    def recover(self) -> None:
        """Everybody comes back and hears of everything."""
        self.proposals.clear()
        for broker_id in BROKERS:
            if broker_id not in self.processes or broker_id not in self.image.brokers:
                self.start(broker_id)
        for _ in range(3):
            self.claim()
            self.look(self.image)
            self.check()
