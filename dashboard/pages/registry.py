"""Live pages by name: what the WebSocket may subscribe to.

A page registers a factory ``(subject, query) → LivePage``; ``subject`` is the topic or group it is about. Adding a
live page: write its ``live.py``, add a line here, render it with ``shell.render_live``.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import QueryDict

from dashboard.brokers.live import BrokerPage, BrokersPage
from dashboard.controller.live import ControllerPage
from dashboard.live.view import LivePage
from dashboard.pages.groups.live import GroupPage, GroupsPage
from dashboard.pages.overview.live import OverviewPage
from dashboard.pages.shell_live import ShellPage
from dashboard.pages.topics.live import TopicPage, TopicsPage
from dashboard.replication.live import ReplicationPage

Factory = Callable[[str, QueryDict], LivePage]

PAGES: dict[str, Factory] = {
    "shell": lambda subject, query: ShellPage(),
    "overview": lambda subject, query: OverviewPage(),
    "brokers": lambda subject, query: BrokersPage(),
    "broker": lambda subject, query: BrokerPage(subject, query),
    "replication": lambda subject, query: ReplicationPage(query),
    "controller": lambda subject, query: ControllerPage(),
    "topics": lambda subject, query: TopicsPage(query),
    "topic": lambda subject, query: TopicPage(subject, query),
    "groups": lambda subject, query: GroupsPage(query),
    "group": lambda subject, query: GroupPage(subject, query),
}


class UnknownPage(LookupError):
    """No live page has that name."""


def open_page(name: str, subject: str, query: QueryDict) -> LivePage:
    factory = PAGES.get(name)
    if factory is None:
        raise UnknownPage(f"There is no live page called {name!r}.")
    return factory(subject, query)
