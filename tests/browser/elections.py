"""Who was elected when, by the brokers' own word, and what a page showed when: both by the clock of the machine.

``Elections`` takes the samples of a broker that stays; ``RECORD`` has the page note every state it was in. A test compares the two
afterwards, so that nothing depends on how quickly the test itself gets to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from broker.client.blocking import Client, ClientConnectionError
from broker.errors import KafkaError
from tests.support.in_thread import InThread

SHOWN_SECONDS_MAX = 2.0
"""From an election, by the controller's word of when it was, to the screen."""
POLL_WAIT_MS = 1_000

RECORD = """(selector) => {
  window.shown = [];
  const note = () => {
    const now = [...document.querySelectorAll(selector)].map(
      (place) => [...place.querySelectorAll(".ot-broker")].map((one) => one.textContent.trim()));
    const last = window.shown.at(-1);
    if (now.length && JSON.stringify(last?.now) !== JSON.stringify(now)) window.shown.push({ at: Date.now(), now });
  };
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
"""An observer is called before anything is painted: what it does not see, nobody sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    broker: int
    at_ms: int


class Elections(InThread):
    """``with Elections(internal_address, secret, topic) as elections: ...``: from then on until the end of the block."""

    def __init__(self, internal: str, secret: bytes, topic: str) -> None:
        super().__init__()
        self.leaders: dict[int, dict[int, Election]] = {}
        """Partition → leader epoch → who leads under it, in order."""
        self.controllers: dict[int, Election] = {}
        """Controller epoch → who it is."""
        self._topic = topic
        self._client = Client([internal], secret)
        self._incarnation, self._seq = "", -1

    def leader(self, partition: int) -> int:
        """The last one; -1 while there is none or nothing was told."""
        epochs = self.leaders.get(partition, {})
        return epochs[max(epochs)].broker if epochs else -1

    def controller(self) -> int:
        return self.controllers[max(self.controllers)].broker if self.controllers else -1

    def turn(self) -> None:
        try:
            samples = self._client.telemetry(self._incarnation, self._seq, POLL_WAIT_MS).samples
        except (KafkaError, ClientConnectionError):
            self._incarnation, self._seq = "", -1
            return
        for sample in samples:
            self._incarnation, self._seq = sample.incarnation, sample.seq
            for told in sample.partitions:
                if told.topic == self._topic:
                    election = Election(broker=told.leader, at_ms=told.changed_at_ms)
                    self.leaders.setdefault(told.partition, {}).setdefault(told.leader_epoch, election)
            for one in sample.control.elections if sample.control is not None else ():
                self.controllers[one.epoch] = Election(broker=one.broker_id, at_ms=one.at_ms)

    def close(self) -> None:
        self._client.close()


def record(page: Page, selector: str) -> None:
    page.evaluate(RECORD, selector)


def shown_in(page: Page, place: int) -> list[Election]:
    """What the ``place``-th of the selected elements named, and since when. Raises ``AssertionError`` if it named two at once."""
    seen: list[Election] = []
    moments: list[dict[str, Any]] = page.evaluate("window.shown")
    for moment in moments:
        named = moment["now"][place]
        assert len(named) <= 1, f"two at once: {moments}"
        broker = int(named[0]) if named and named[0].isdecimal() else -1
        if not seen or seen[-1].broker != broker:
            seen.append(Election(broker=broker, at_ms=moment["at"]))
    return seen


def assert_followed(seen: list[Election], elected: list[Election]) -> None:
    """The page went the way of the elections, in their order, never back, and named the last one in time."""
    ways = iter(elected)
    for one in seen:
        assert one.broker == -1 or any(step.broker == one.broker for step in ways), (
            f"{seen} is not the way of {elected}"
        )
    last = elected[-1]
    assert seen[-1].broker == last.broker
    late_ms = seen[-1].at_ms - last.at_ms
    assert late_ms <= SHOWN_SECONDS_MAX * 1000, f"shown {late_ms} ms after the election"
