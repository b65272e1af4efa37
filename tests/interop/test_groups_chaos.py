"""A minute of everything at once: members come, leave and are killed, the broker is restarted and killed, data flows.

Every record that was sent is read by somebody, whatever happened in between. The seed is in the test's name; more of
them can be tried with ``CHAOS_SEEDS=1,2,3 pytest -m nightly tests/interop/test_groups_chaos.py``.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.interop.group_member import CLIENTS
from tests.interop.groups import Group, Member, group_of, produce
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.nightly, pytest.mark.timeout(400)]

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2").split(",")]
ROUNDS = 30
PARTITIONS = 6
MEMBERS_MAX = 4


class Chaos:
    def __init__(self, seed: int, broker: BrokerProcess, group: Group) -> None:
        self.random = random.Random(seed)
        self.broker, self.group = broker, group
        self.living: list[Member] = []
        self.gone: list[Member] = []
        self.sent: set[str] = set()
        self.story: list[str] = []

    def step(self) -> None:
        values = [f"{len(self.sent) + place}" for place in range(60)]
        produce(self.broker.bootstrap, self.group.topic, values)
        self.sent.update(values)
        actions = [
            self.start,
            self.start,
            self.kill_member,
            self.leave,
            self.kill_broker,
            self.restart_broker,
            self.wait,
        ]
        action = self.random.choice(actions)
        self.story.append(action.__name__)
        action()
        self.bury_the_dead()
        time.sleep(self.random.random() * 2)

    def start(self) -> None:
        if len(self.living) < MEMBERS_MAX:
            options = {"tell": "before"}
            client = self.random.choice(list(CLIENTS))
            if self.random.random() < 0.3:
                options["instance"] = f"pod-{len(self.living) + len(self.gone)}"
            self.living.append(self.group.join(client, **options))

    def kill_member(self) -> None:
        if len(self.living) > 1:
            member = self._take()
            member.kill()

    def leave(self) -> None:
        if len(self.living) > 1:
            self._take().leave()

    def kill_broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def restart_broker(self) -> None:
        self.broker.restart()

    def wait(self) -> None:
        """Nothing happens, which is also something a group must survive."""

    def bury_the_dead(self) -> None:
        """A client that finds no broker at its own start gives up; that is the client's choice."""
        for member in [member for member in self.living if member.ended]:
            self.living.remove(member)
            self.gone.append(member)
        if not self.living:
            self.start()

    def read(self) -> set[str]:
        return {value for member in self.living + self.gone for value in member.values}

    def _take(self) -> Member:
        member = self.living.pop(self.random.randrange(len(self.living)))
        self.gone.append(member)
        return member


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_whatever_happens(tmp_path, seed: int) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    with BrokerProcess(tmp_path, OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000") as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic("chaos", PARTITIONS, 1)])["chaos"].result(timeout=30)
        with group_of(broker.bootstrap, "chaos", "chaos") as group:
            chaos = Chaos(seed, broker, group)
            chaos.start()
            for _ in range(ROUNDS):
                chaos.step()
            group.wait_shared(chaos.living, PARTITIONS)
            wait_until(lambda: chaos.sent <= chaos.read(), f"everything is read after {chaos.story}", seconds=60)
