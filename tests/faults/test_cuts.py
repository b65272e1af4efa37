"""Networks that are cut, both ways or one way, with each broker in a network namespace of its own: rows 20, 23 and 24."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.clusters import three_machines
from tests.faults.faults_of_brokers import assert_a_leader_follows, leader_epochs, wait_in_sync
from tests.faults.nemeses.network import Network
from tests.faults.stage import Stage

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

FLAP_SECONDS = 1.0


def test_a_leader_cut_off_from_everybody_is_replaced_and_comes_back_as_a_follower(tmp_path: Path) -> None:
    with three_machines(tmp_path) as (cluster, network), Stage(tmp_path, cluster) as stage:
        topic, sink = stage.topic("t", 3), stage.topic("sink", 3)
        stage.observe()
        stage.load("confluent", topic, rate=50)
        stage.copies(topic, sink)
        stage.wait_progress(50)
        epochs = leader_epochs(stage, topic)
        victim = cluster.leader(topic)
        with stage.fault("a cut shorter than a session"):
            network.isolate(victim)
            stage.let_it_last(FLAP_SECONDS)
            network.heal()
        stage.wait_progress(50)
        assert leader_epochs(stage, topic) == epochs, "a flap caused an election"
        with stage.fault(f"broker {victim} is cut off"):
            network.isolate(victim)
            cluster.cut_off.add(victim)
            assert_a_leader_follows(stage, topic, 0, victim)
            stage.wait_progress(50)
            network.heal()
            cluster.cut_off.clear()
        wait_in_sync(stage)
        stage.wait_progress(50)
        stage.judge()


def hears_nobody(network: Network, leader: int) -> None:
    for other in (*network.nodes, network.HOST):
        if other != leader:
            network.cut_one_way(other, leader)


def is_heard_by_nobody(network: Network, leader: int) -> None:
    for other in (*network.nodes, network.HOST):
        if other != leader:
            network.cut_one_way(leader, other)


def hears_no_follower(network: Network, leader: int) -> None:
    for other in network.brokers:
        if other != leader:
            network.cut_one_way(other, leader)


def reaches_the_store_but_no_broker(network: Network, leader: int) -> None:
    for other in network.brokers:
        if other != leader:
            network.cut(leader, other)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "cut",
    [hears_nobody, is_heard_by_nobody, hears_no_follower, reaches_the_store_but_no_broker],
    ids=lambda c: c.__name__,
)
def test_cuts_in_one_direction_lose_nothing_and_heal(tmp_path: Path, cut: Callable[[Network, int], None]) -> None:
    with three_machines(tmp_path) as (cluster, network), Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 3)
        stage.observe()
        stage.writes(topic)
        stage.wait_progress(50)
        for _ in range(2):
            leader = cluster.leader(topic)
            with stage.fault(f"broker {leader} {cut.__name__.replace('_', ' ')}"):
                cut(network, leader)
                cluster.cut_off.add(leader)
                # Writers go on with a new leader, or with the old one when it is allowed to; both take their time.
                stage.wait_progress(50, seconds=90)
                network.heal()
                cluster.cut_off.clear()
            wait_in_sync(stage)
            stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
def test_clients_that_reach_one_broker_alone_go_on_with_what_it_leads(tmp_path: Path) -> None:
    """Brokers reach each other, so nobody is deposed: what fails is the way from clients to two of three."""
    with (
        three_machines(tmp_path) as (cluster, network),
        Stage(tmp_path, cluster, machine=network.prefix(network.CLIENTS)) as stage,
    ):
        topic = stage.topic("t", 3)
        stage.observe()
        stage.writes(topic)
        stage.wait_progress(50)
        epochs = leader_epochs(stage, topic)
        for reached in network.brokers:
            with stage.fault(f"clients reach broker {reached} alone"):
                for other in network.brokers:
                    if other != reached:
                        network.cut(network.CLIENTS, other)
                stage.wait_progress(50, seconds=90)
                network.heal()
            stage.wait_progress(50)
        assert leader_epochs(stage, topic) == epochs, "clients' troubles caused elections"
        stage.judge()
