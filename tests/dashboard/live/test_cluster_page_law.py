"""The law of pushed pages for those about replicas, brokers and the controller, while three brokers disagree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.http import QueryDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.telemetry.sample import PartitionSample
from dashboard.brokers.live import BrokerPage, BrokersPage
from dashboard.controller.live import ControllerPage
from dashboard.live import rendering
from dashboard.live.view import LivePage
from dashboard.pages.overview.live import OverviewPage
from dashboard.pages.topics.live import TopicPage
from dashboard.replication.live import ReplicationPage
from tests.dashboard.live.test_page_law import Browser, comparable
from tests.dashboard.samples import START_MS, Bench
from tests.dashboard.three import BROKERS, controlled, placed, replicated, says, start

PAGES: dict[str, Callable[[], LivePage]] = {
    "replication": lambda: ReplicationPage(QueryDict("sort=partition")),
    "replication filtered": lambda: ReplicationPage(QueryDict("sort=partition&show=under-replicated&q=orders-1")),
    "controller": ControllerPage,
    "brokers": BrokersPage,
    "broker": lambda: BrokerPage("2", QueryDict("")),
    "broker leads": lambda: BrokerPage("2", QueryDict("show=leads")),
    "topic": lambda: TopicPage("orders", QueryDict("")),
    "overview": OverviewPage,
}
PARTITIONS = 3

happenings = st.one_of(
    st.tuples(st.just("elect"), st.integers(0, PARTITIONS - 1), st.sampled_from((*BROKERS, -1))),
    st.tuples(st.just("isr"), st.integers(0, PARTITIONS - 1), st.lists(st.sampled_from(BROKERS), max_size=3)),
    st.tuples(st.just("move"), st.integers(0, PARTITIONS - 1), st.sampled_from(BROKERS)),
    st.tuples(st.just("lag"), st.integers(0, PARTITIONS - 1), st.integers(0, 100)),
    st.tuples(st.just("controller"), st.sampled_from(BROKERS), st.integers(0, 3)),
    st.tuples(st.just("silence"), st.sampled_from(BROKERS), st.just(0)),
)
lives = st.lists(st.tuples(happenings, st.sampled_from(BROKERS), st.booleans()), min_size=4, max_size=40)
"""What happens, which broker tells of it, and whether it is published before the next."""


class World:
    """What the controller has written; a broker that tells tells all of it."""

    def __init__(self) -> None:
        self.partitions = {number: placed(number=number) for number in range(PARTITIONS)}
        self.control = controlled()
        self.controller = 1
        self.seq = dict.fromkeys(BROKERS, 1)

    def act(self, happening: tuple) -> None:
        match happening:
            case ("elect", number, leader):
                self._change(number, epochs=1, leader=leader, cause="leader_failed")
            case ("isr", number, isr):
                self._change(number, isr=sorted({*isr, self.partitions[number].leader} - {-1}), cause="isr_shrunk")
            case ("move", number, broker):
                adding = [broker] if not self.partitions[number].adding else []
                self._change(number, adding=adding, cause="reassigning" if adding else "reassigned")
            case ("lag", number, end):
                self._change(number, followers=[(broker, end, START_MS) for broker in BROKERS])
            case ("controller", broker, gone):
                self.control = controlled(epoch=self.control.controller_epoch + 1, by=broker, gone=(gone,))
                self.controller = broker

    def _change(self, number: int, *, epochs: int = 0, **values: object) -> None:
        was = self.partitions[number]
        kept = {name: getattr(was, name) for name in ("leader", "isr", "adding", "followers", "cause")}
        self.partitions[number] = placed(
            number=number,
            leader_epoch=was.leader_epoch + epochs,
            partition_epoch=was.partition_epoch + 1,
            changed_at_ms=START_MS,
            **{**kept, **values},
        )

    def told(self) -> list[PartitionSample]:
        return list(self.partitions.values())


@pytest.mark.parametrize("name", PAGES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives)
def test_a_page_kept_up_by_pushes_shows_what_loading_it_would(
    name: str, life: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "wall_ms", lambda: START_MS)
    bench, world = Bench(), World()
    start(bench, *world.told(), topics=(replicated(partitions=PARTITIONS),))
    browser = Browser(bench.store, PAGES[name]())
    scopes = set(browser.page.scopes)
    for happening, broker, published in life:
        world.act(happening)
        if happening[0] == "silence":
            bench.model.silent(happening[1], since_ms=START_MS, trouble="silent")
        else:
            world.seq[broker] += 1
            seq = world.seq[broker]
            bench.feed(
                says(
                    broker,
                    seq,
                    *world.told(),
                    control=world.control,
                    controller_id=world.controller,
                    topics=[replicated(partitions=PARTITIONS)],
                )
            )
        if published:
            browser.take(bench.step(scopes).frames)
    browser.take(bench.step(scopes).frames)
    fresh = Browser(bench.store, PAGES[name]())
    assert comparable(browser.shown) == comparable(fresh.shown)
