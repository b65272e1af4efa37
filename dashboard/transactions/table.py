"""Which transactions the table shows: filter, kind and page in the URL. Pure.

The order is the survey's: what needs a person first. Sorting by a column would hide that.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import QueryDict

from dashboard.pages.paging import Paged, page_number
from dashboard.transactions.survey import Survey, TransactionView

KINDS = {"": "All", "open": "Open", "hanging": "Hanging"}


class TransactionsTable(Paged):
    """``?show=&q=&page=``."""

    def __init__(self, query: QueryDict, survey: Survey) -> None:
        self.filter = query.get("q", "").strip()[:200]
        show = query.get("show", "")
        self.show = show if show in KINDS else ""
        kinds = {"": survey.transactions, "open": survey.open, "hanging": survey.hanging}
        needle = self.filter.casefold()
        found = [
            one
            for one in kinds[self.show]
            if needle in one.transactional_id.casefold() or needle == str(one.producer_id)
        ]
        self.counts = {slug: len(rows) for slug, rows in kinds.items()}
        self.total, self.matching = len(survey.transactions), len(found)
        self.page = min(self.pages, page_number(query.get("page", "")))
        self.rows: list[TransactionView] = found[self.window]

    @property
    def chips(self) -> list[tuple[str, int, str, bool]]:
        return [
            (words, self.counts[slug], self._url(show=slug, page=""), slug == self.show)
            for slug, words in KINDS.items()
        ]

    def page_url(self, page: int) -> str:
        return self._url(page=str(page))

    @property
    def clear_url(self) -> str:
        return self._url(q="", show="", page="")

    def _url(self, **changes: str) -> str:
        values = {"show": self.show, "q": self.filter, "page": str(self.page), **changes}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"
