"""Who follows whom, as a square of cells: rows lead, columns follow. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboard.live.replication_rows import LinkRow
from dashboard.live.state import BrokerRow
from dashboard.pages.words import link_level, link_words

HEAT_RECORDS = (1, 1_000, 100_000)
"""From how many records behind a cell is one shade darker. Text says the same; colour is only for the eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    leader: int
    follower: int
    link: LinkRow | None
    """``None``: the one follows nothing that the other leads."""
    silent: int
    """The one of the two that does not answer, so that its lag is what was told last; -1 when both do."""

    @property
    def own(self) -> bool:
        return self.leader == self.follower

    @property
    def level(self) -> str:
        return link_level(self.link) if self.link is not None else ""

    @property
    def words(self) -> str:
        return link_words(self.link) if self.link is not None else ""

    @property
    def heat(self) -> int:
        lag = self.link.lag if self.link is not None else None
        return sum(lag >= bound for bound in HEAT_RECORDS) if lag is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    broker: int
    online: bool
    leads: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    brokers: tuple[int, ...]
    offline: frozenset[int]
    rows: tuple[MatrixRow, ...]

    @property
    def linked(self) -> bool:
        """Whether anybody follows anybody."""
        return any(cell.link is not None for row in self.rows for cell in row.cells)


def matrix(brokers: Iterable[BrokerRow], links: Iterable[LinkRow]) -> Matrix:
    """Every broker that is part of it, also one that neither leads nor follows; not those that were taken out."""
    by_pair = {(link.leader, link.follower): link for link in links}
    known = {row.id: row for row in brokers if row.state != "decommissioned" or row.replicas}
    ids = tuple(sorted({*known, *(one for pair in by_pair for one in pair)}))
    offline = frozenset(one for one in ids if one not in known or not known[one].online)

    def cell(leader: int, follower: int) -> Cell:
        silent = next((one for one in (leader, follower) if one in offline), -1)
        return Cell(leader=leader, follower=follower, link=by_pair.get((leader, follower)), silent=silent)

    return Matrix(
        brokers=ids,
        offline=offline,
        rows=tuple(
            MatrixRow(
                broker=leader,
                online=leader not in offline,
                leads=known[leader].leaders if leader in known else 0,
                cells=tuple(cell(leader, follower) for follower in ids),
            )
            for leader in ids
        ),
    )
