"""A table's filter, order and page, read from and written back to the URL. Pure.

The order is chosen when the page is opened or rows come and go, not with every number that moves: rows that jump
under the pointer cannot be read. Unknown sorts last either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.http import QueryDict

from dashboard.pages.paging import Paged, page_number

RowType = TypeVar("RowType")

FILTER_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[RowType]):
    label: str
    value: Callable[[RowType], Any]
    """What to sort by; ``None`` is unknown."""
    numeric: bool = False
    """Right-aligned, and sorted from the largest first."""
    title: str = ""
    css: str = ""
    """``ot-wide`` hides the column on small screens."""


class Listing(Paged, Generic[RowType]):
    def __init__(
        self,
        query: QueryDict,
        columns: Mapping[str, Column[RowType]],
        *,
        default_sort: str,
        name: Callable[[RowType], str],
        default_descending: bool | None = None,
        prefix: str = "",
    ) -> None:
        """``prefix`` keeps the parameters of two tables of one page apart."""
        self.columns = columns
        self._prefix = prefix
        self._query = query
        self._name = name
        self.filter = query.get(f"{prefix}q", "").strip()[:FILTER_LENGTH_MAX]
        sort = query.get(f"{prefix}sort", "")
        self.descending = sort.startswith("-")
        self.sort = sort.removeprefix("-")
        self.default_sort = default_sort
        if self.sort not in columns:
            self.sort = default_sort
            natural = columns[default_sort].numeric
            self.descending = natural if default_descending is None else default_descending
        self.page = page_number(query.get(f"{prefix}page", "1"))
        self.rows: list[RowType] = []
        """The visible ones, in order."""

    def arrange(self, rows: Iterable[RowType]) -> None:
        """Filter, sort, cut to the page. A page beyond the end becomes the last."""
        everything = list(rows)
        needle = self.filter.casefold()
        found = [row for row in everything if needle in self._name(row).casefold()] if needle else everything
        value = self.columns[self.sort].value
        found.sort(key=self._name)
        known = [row for row in found if value(row) is not None]
        unknown = [row for row in found if value(row) is None]
        known.sort(key=value, reverse=self.descending)
        self.total, self.matching = len(everything), len(found)
        self.page = min(self.page, self.pages)
        self.rows = [*known, *unknown][self.window]

    # Addresses -------------------------------------------------------------------------------------

    def sort_url(self, column: str) -> str:
        """By this column; again, the other way round."""
        descending = self.columns[column].numeric if column != self.sort else not self.descending
        return self._url(sort=f"-{column}" if descending else column, page=None)

    def page_url(self, page: int) -> str:
        return self._url(page=str(page))

    @property
    def clear_url(self) -> str:
        return self._url(q=None, page=None)

    @property
    def sort_value(self) -> str:
        """For the hidden field of the filter form: filtering keeps the order."""
        return f"{'-' if self.descending else ''}{self.sort}"

    def _url(self, **changes: str | None) -> str:
        values = {key: self._query.get(key, "") for key in self._query}
        for key, value in changes.items():
            if value is None:
                values.pop(self._prefix + key, None)
            else:
                values[self._prefix + key] = value
        return f"?{urlencode(values)}"
