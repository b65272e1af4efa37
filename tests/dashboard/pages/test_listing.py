"""Filter, order and page live in the URL."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

import pytest
from django.http import QueryDict

from dashboard.pages.listing import Column, Listing
from dashboard.pages.paging import PAGE_ROWS


@dataclass
class Thing:
    name: str
    size: int | None = None


COLUMNS: dict[str, Column[Thing]] = {
    "name": Column(label="Name", value=lambda row: row.name),
    "size": Column(label="Size", value=lambda row: row.size, numeric=True),
}


def listing(query: str = "", rows: list[Thing] | None = None) -> Listing[Thing]:
    made: Listing[Thing] = Listing(QueryDict(query), COLUMNS, default_sort="name", name=lambda row: row.name)
    made.arrange(rows if rows is not None else [Thing("b", 2), Thing("a", None), Thing("c", 9)])
    return made


def names(made: Listing[Thing]) -> str:
    return "".join(row.name for row in made.rows)


@pytest.mark.parametrize(
    ("query", "order"),
    [("", "abc"), ("sort=-name", "cba"), ("sort=size", "bca"), ("sort=-size", "cba"), ("sort=nonsense", "abc")],
)
def test_order_comes_from_the_url_and_unknown_sorts_last(query: str, order: str) -> None:
    assert names(listing(query)) == order


def test_a_number_is_sorted_from_the_largest_first_and_then_the_other_way() -> None:
    assert parse_qs(listing().sort_url("size")[1:])["sort"] == ["-size"]
    assert parse_qs(listing("sort=-size").sort_url("size")[1:])["sort"] == ["size"]
    assert parse_qs(listing().sort_url("name")[1:])["sort"] == ["-name"]


def test_the_filter_ignores_case_and_stays_in_every_address() -> None:
    made = listing("q=B")
    assert names(made) == "b"
    assert (made.matching, made.total) == (1, 3)
    assert parse_qs(made.sort_url("size")[1:])["q"] == ["B"]
    assert "q=" not in made.clear_url


def test_pages_are_cut_and_a_page_beyond_the_end_is_the_last() -> None:
    rows = [Thing(f"{number:04}") for number in range(PAGE_ROWS * 2 + 7)]
    first, last = listing("", rows), listing("page=99", rows)
    assert (first.pages, first.first_shown, first.last_shown, len(first.rows)) == (3, 1, PAGE_ROWS, PAGE_ROWS)
    assert (last.page, last.first_shown, last.last_shown, len(last.rows)) == (3, 101, 107, 7)
    assert (first.previous_url, last.next_url) == ("", "")
    assert parse_qs(first.next_url[1:])["page"] == ["2"]


@pytest.mark.parametrize("page", ["0", "-3", "x", "", "9" * 50])
def test_a_nonsensical_page_is_the_first_or_last(page: str) -> None:
    assert names(listing(f"page={page}")) == "abc"


def test_a_changed_filter_or_order_starts_at_the_first_page() -> None:
    made = listing("page=2&q=a")
    assert "page" not in parse_qs(made.sort_url("size")[1:])
    assert "page" not in made.clear_url
