"""How soon a page shows who was elected: what waits on the way, added up."""

from __future__ import annotations

from broker.telemetry.sampler import HURRY_SECONDS
from dashboard.collector.driver import FRAME_MS
from dashboard.live.consumers import SEND_SECONDS
from tests.browser.elections import SHOWN_SECONDS_MAX


def test_waiting_takes_less_than_half_of_the_time_from_an_election_to_the_screen() -> None:
    """The broker's sample, the collector's frame and the socket's batch may each have left a moment ago. The rest is for work."""
    assert HURRY_SECONDS + FRAME_MS / 1000 + SEND_SECONDS <= SHOWN_SECONDS_MAX / 2
