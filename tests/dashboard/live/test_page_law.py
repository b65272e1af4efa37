"""The law, as far as the screen: what pushes made of a page is what loading it now would show.

The browser is a mapping from target to markup here; a row inside a table's body is replaced where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.http import QueryDict
from hypothesis import HealthCheck, given, settings

from dashboard.live import rendering
from dashboard.live.delta import Gap
from dashboard.live.reducer import reduce
from dashboard.live.store import MemoryStore
from dashboard.live.view import LivePage, View
from dashboard.pages.groups.live import GroupPage, GroupsPage
from dashboard.pages.overview.live import OverviewPage
from dashboard.pages.topics.live import TopicPage, TopicsPage
from tests.dashboard.collector.test_law import Cluster, Life, lives
from tests.dashboard.samples import START_MS, Bench

PAGES: dict[str, Callable[[], LivePage]] = {
    "overview": OverviewPage,
    "topics": lambda: TopicsPage(QueryDict("")),
    "topics filtered": lambda: TopicsPage(QueryDict("q=b&sort=-in")),
    "topic": lambda: TopicPage("a", QueryDict("")),
    "topic groups": lambda: TopicPage("a", QueryDict("tab=groups")),
    "groups": lambda: GroupsPage(QueryDict("sort=-lag")),
    "group": lambda: GroupPage("a", QueryDict("")),
}
COUNTED = re.compile(r"(<(?:time|span)[^>]*data-(?:ago|since|behind|clock)=[^>]*>)[^<]*")
"""The browser counts these texts itself."""


class Browser:
    """Subscribes to a page and applies what the consumer would send."""

    def __init__(self, store: MemoryStore, page: LivePage) -> None:
        self._store = store
        self.page = page
        self.read()

    def read(self) -> None:
        self.view = View.of(self._store.read(self.page.scopes))
        self.page.arrange(self.view)
        self.shown = dict(rendering.render_targets(self.page, self.view, self.page.targets(self.view)))

    def take(self, frames: list) -> None:
        for frame in frames:
            try:
                reduced = reduce(self.page, self.view, frame)
            except Gap:
                self.read()
                continue
            self.view = reduced.view
            for target, markup in rendering.render_targets(self.page, self.view, sorted(reduced.targets)):
                self._swap(target, markup)

    def _swap(self, target: str, markup: str) -> None:
        if target in self.shown:
            self.shown[target] = markup
            return
        row = re.compile(rf'<tr id="{re.escape(target)}".*?</tr>', re.DOTALL)
        assert any(row.search(known) for known in self.shown.values()), f"{target} is not on the page"
        for name, known in self.shown.items():
            self.shown[name] = row.sub(lambda _: markup.strip(), known)


def comparable(shown: dict[str, str]) -> dict[str, str]:
    return {target: re.sub(r"\s+", " ", COUNTED.sub(r"\1", markup)).strip() for target, markup in shown.items()}


@pytest.mark.parametrize("name", PAGES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives)
def test_a_page_kept_up_by_pushes_shows_what_loading_it_would(
    name: str, life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "wall_ms", lambda: START_MS)
    bench, cluster = Bench(), Cluster()
    for happening in ("write", "a", 0, 5), ("commit", "a", "a", 2), ("write", "b", 1, 5):
        cluster.act(happening)
    bench.feed(cluster.sample())
    bench.step()
    browser = Browser(bench.store, PAGES[name]())
    for event, reach in life:
        if event[0] == "silence":
            bench.model.silent(1, since_ms=START_MS, trouble="nobody knows")
        else:
            cluster.act(event)
        if reach != "nothing":
            bench.feed(cluster.sample())
        if reach == "step":
            browser.take(bench.step(set(browser.page.scopes)).frames)
    fresh = Browser(bench.store, PAGES[name]())
    if "sort" in name or "-" in name or name in ("topics filtered", "groups"):
        # Order is kept while numbers move: compare what is shown, not where.
        assert sorted(comparable(browser.shown)) == sorted(comparable(fresh.shown))
    else:
        assert comparable(browser.shown) == comparable(fresh.shown)
