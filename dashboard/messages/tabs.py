"""What this package adds to the topic's page."""

from __future__ import annotations

from dashboard.messages.browser import messages_tab
from dashboard.messages.produce import produce_tab
from dashboard.messages.tail_page import tail_tab
from dashboard.pages.topics.tabs import Tab, register_tab


def register() -> None:
    """Called once the apps are ready."""
    register_tab(
        Tab(slug="messages", label="Messages", template="ottla/messages/browser.html", fetch=messages_tab, order=20)
    )
    register_tab(Tab(slug="tail", label="Live tail", template="ottla/messages/tail.html", fetch=tail_tab, order=22))
    register_tab(
        Tab(slug="produce", label="Produce", template="ottla/messages/produce.html", fetch=produce_tab, order=60)
    )
