"""morph.js in a real browser: only what differs is touched."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RUN = """async ([from, to, before]) => {
    const { morph } = await import("/static/ottla/js/morph.js");
    const parse = (html) => Object.assign(document.createElement("template"), { innerHTML: html }).content.firstElementChild;
    const element = parse(from);
    document.body.append(element);
    const kept = [...element.querySelectorAll("*")];
    if (before) element.querySelector(before).focus();
    const changed = [];
    morph(element, parse(to), (parent) => changed.push(parent.tagName));
    const result = {
        html: element.outerHTML,
        changed,
        same: kept.map((node) => element.contains(node)),
        focused: document.activeElement?.id ?? "",
    };
    element.remove();
    return result;
}"""


def morph(page: Page, old: str, new: str, focus: str = "") -> dict[str, Any]:
    return page.evaluate(RUN, [old, new, focus])


def test_a_changed_text_changes_only_its_node(page: Page) -> None:
    result = morph(page, "<p><b>1</b><i>x</i></p>", "<p><b>2</b><i>x</i></p>")
    assert result["html"] == "<p><b>2</b><i>x</i></p>"
    assert result["changed"] == ["B"]
    assert result["same"] == [True, True]


def test_rows_are_matched_by_id_when_one_appears_before_them(page: Page) -> None:
    result = morph(
        page,
        '<div><a id="b" href="#">b</a><a id="c" href="#">c</a></div>',
        '<div><a id="a" href="#">a</a><a id="b" href="#">b</a><a id="c" href="#">C</a></div>',
        "#c",
    )
    assert result["html"] == '<div><a id="a" href="#">a</a><a id="b" href="#">b</a><a id="c" href="#">C</a></div>'
    assert result["same"] == [True, True]
    assert result["focused"] == "c"


def test_a_row_that_went_is_removed_and_order_follows(page: Page) -> None:
    result = morph(
        page,
        '<ul><li id="1">1</li><li id="2">2</li><li id="3">3</li></ul>',
        '<ul><li id="3">3</li><li id="1">1</li></ul>',
    )
    assert result["html"] == '<ul><li id="3">3</li><li id="1">1</li></ul>'


def test_attributes_follow(page: Page) -> None:
    result = morph(page, '<p class="a" title="x">1</p>', '<p class="b" data-n="2">1</p>')
    assert result["html"] == '<p class="b" data-n="2">1</p>'
    assert result["changed"] == []


def test_what_script_owns_is_left_alone(page: Page) -> None:
    result = morph(page, '<p><svg data-keep=""><path></path></svg></p>', '<p><svg data-keep="" class="new"></svg></p>')
    assert result["html"] == '<p><svg data-keep=""><path></path></svg></p>'


def test_a_counted_time_keeps_its_text_until_the_moment_changes(page: Page) -> None:
    same = morph(page, '<p><time data-ago="5">9 s ago</time></p>', '<p><time data-ago="5">8 s ago</time></p>')
    assert "9 s ago" in same["html"]
    moved = morph(page, '<p><time data-ago="5">9 s ago</time></p>', '<p><time data-ago="7">just now</time></p>')
    assert "just now" in moved["html"]
    assert moved["changed"] == []


def test_another_kind_of_element_is_replaced(page: Page) -> None:
    result = morph(page, "<p><b>1</b></p>", '<p><span class="u">—</span></p>')
    assert result["html"] == '<p><span class="u">—</span></p>'
