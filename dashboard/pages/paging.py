"""Which rows of a long list a page shows, and the addresses of its neighbours. What ``components/foot.html`` reads. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod

PAGE_ROWS = 50


class Paged(ABC):
    """``matching`` rows of ``total``, page by page; whoever knows ``matching`` keeps ``page`` within ``pages``."""

    page: int = 1
    total: int = 0
    matching: int = 0

    @abstractmethod
    def page_url(self, page: int) -> str:
        """The address of another page of the same rows."""

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // PAGE_ROWS))

    @property
    def window(self) -> slice:
        """The page's rows among those that match."""
        first = (self.page - 1) * PAGE_ROWS
        return slice(first, first + PAGE_ROWS)

    @property
    def first_shown(self) -> int:
        return self.window.start + 1 if self.matching else 0

    @property
    def last_shown(self) -> int:
        return min(self.page * PAGE_ROWS, self.matching)

    @property
    def previous_url(self) -> str:
        return self.page_url(self.page - 1) if self.page > 1 else ""

    @property
    def next_url(self) -> str:
        return self.page_url(self.page + 1) if self.page < self.pages else ""


def page_number(text: str) -> int:
    """As written in an address; what is no page there is the first."""
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1
