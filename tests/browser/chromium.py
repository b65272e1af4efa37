"""The system's Chromium, and a signed-in page of an installation in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.installation import ADMIN_NAME, ADMIN_PASSWORD
from tests.support.requires import require_tool

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
Theme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    path = require_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def signed_in(
    browser: Browser,
    url: str,
    *,
    theme: Theme = "light",
    width: int = 1440,
    height: int = 900,
    time_zone: str | None = None,
) -> Iterator[Page]:
    """A page whose script errors and console errors fail the test when it is closed."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, base_url=url, timezone_id=time_zone
    )
    try:
        page = context.new_page()
        errors = collect_errors(page)
        sign_in(page)
        yield page
        assert not errors, errors
    finally:
        context.close()


def sign_in(page: Page, name: str = ADMIN_NAME, password: str = ADMIN_PASSWORD) -> None:
    page.goto("/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url("**/")


def collect_errors(page: Page) -> list[str]:
    """Fills up with what the page complains about: exceptions, refused scripts, failed loads."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"exception: {error}"))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


__all__ = ["Browser", "BrowserContext", "Page", "Theme", "chromium", "collect_errors", "sign_in", "signed_in"]
