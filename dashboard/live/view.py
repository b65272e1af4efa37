"""What a page is, as far as live data is concerned, and the state it is rendered from.

A page names the scopes it watches and its *targets*: ids of elements that are swapped as a whole. It can say which
targets a changed row touches and what a target is rendered from. The same fragment renderer serves the first page
load and every push, so the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dashboard.live.state import Pulse, Row, Rows, ScopeState
from dashboard.live.store import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state a page is rendered from."""

    pulse: Pulse | None = None
    scopes: Mapping[str, ScopeState] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot) -> View:
        return cls(pulse=snapshot.pulse, scopes=dict(snapshot.scopes))

    def rows(self, scope: str) -> Rows:
        found = self.scopes.get(scope)
        return found.rows if found is not None else {}

    def row(self, scope: str, key: str) -> Row | None:
        return self.rows(scope).get(key)

    def stale(self, source: int) -> bool:
        """Whether the broker a number came from does not answer any more."""
        return self.pulse is not None and source in self.pulse.offline

    @property
    def brokers_online(self) -> int:
        """How many brokers answer."""
        return len(self.pulse.sampled) - len(self.pulse.offline) if self.pulse is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One target's markup: a template and what it is given."""

    target: str
    template: str
    context: dict[str, Any]


class LivePage(Protocol):
    """One open page of one viewer. Made per request and per subscription; may remember its row order."""

    name: str

    @property
    def scopes(self) -> tuple[str, ...]: ...

    @property
    def series(self) -> tuple[str, ...]:
        """History series its charts draw; each is the scope that publishes its points."""
        ...

    def arrange(self, view: View) -> None:
        """Choose and order the rows from a fresh snapshot."""
        ...

    def targets(self, view: View) -> Sequence[str]:
        """Every target that is on the page now."""
        ...

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        """Targets to render again because these rows changed, appeared or went."""
        ...

    def fragment(self, view: View, target: str) -> Fragment | None:
        """What the target is rendered from; ``None`` when it is no longer on the page."""
        ...
