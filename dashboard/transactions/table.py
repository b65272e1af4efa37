"""Which transactions the table shows: filter, kind and page in the URL. Pure.

The order is the survey's: what needs a person first. Sorting by a column would hide that.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import QueryDict

from dashboard.transactions.survey import Survey, TransactionView

PAGE_ROWS = 50
KINDS = {"": "All", "open": "Open", "hanging": "Hanging"}


class TransactionsTable:
    """``?show=&q=&page=``. Has what ``components/foot.html`` shows of a listing."""

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
        page = query.get("page", "")
        self.page = min(self.pages, max(1, int(page) if page.isdecimal() and len(page) < 7 else 1))
        first = (self.page - 1) * PAGE_ROWS
        self.rows: list[TransactionView] = found[first : first + PAGE_ROWS]

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // PAGE_ROWS))

    @property
    def first_shown(self) -> int:
        return (self.page - 1) * PAGE_ROWS + 1 if self.matching else 0

    @property
    def last_shown(self) -> int:
        return min(self.page * PAGE_ROWS, self.matching)

    @property
    def chips(self) -> list[tuple[str, int, str, bool]]:
        return [
            (words, self.counts[slug], self._url(show=slug, page=""), slug == self.show)
            for slug, words in KINDS.items()
        ]

    @property
    def previous_url(self) -> str:
        return self._url(page=str(self.page - 1)) if self.page > 1 else ""

    @property
    def next_url(self) -> str:
        return self._url(page=str(self.page + 1)) if self.page < self.pages else ""

    @property
    def clear_url(self) -> str:
        return self._url(q="", show="", page="")

    def _url(self, **changes: str) -> str:
        values = {"show": self.show, "q": self.filter, "page": str(self.page), **changes}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"
