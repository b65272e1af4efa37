"""The Services page in a real browser: processes live, and a broker stopped and started by hand."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Page
from tests.support.installation import Installation
from tests.support.wait import wait_until

pytestmark = pytest.mark.browser

SECONDS = 20_000


def test_it_shows_every_process_and_a_death_without_reload(page: Page, installation: Installation) -> None:
    page.goto("/services/")
    for name in ("redis", "broker-1", "collector", "worker", "beat", "web"):
        expect(page.locator(f"#service-{name}")).to_contain_text("ready", timeout=SECONDS)
    page.evaluate("window.notReloaded = true")
    before = installation.service_pid("broker-1")
    restarts = page.locator("#service-broker-1 td").nth(3)
    count = int(restarts.inner_text())
    installation.kill_service("broker-1")
    expect(restarts).to_have_text(str(count + 1), timeout=SECONDS)
    expect(page.locator("#service-broker-1")).to_contain_text("ready", timeout=SECONDS)
    expect(page.locator("#service-broker-1")).not_to_contain_text(str(before))
    assert page.evaluate("window.notReloaded")


def test_a_broker_is_stopped_and_started_after_its_effects_were_read(page: Page, installation: Installation) -> None:
    page.goto("/services/")
    page.get_by_role("link", name="Stop broker-1").click()
    expect(page.get_by_text("Its clients are disconnected")).to_be_visible()
    page.get_by_role("button", name="Stop broker-1").click()
    expect(page.locator("#service-broker-1")).to_contain_text("stopped", timeout=SECONDS)
    expect(page.get_by_text("broker-1 has been stopped.")).to_be_visible()
    assert installation.service_pid("broker-1") == 0

    page.get_by_role("link", name="Start broker-1").click()
    page.get_by_role("button", name="Start broker-1").click()
    expect(page.locator("#service-broker-1")).to_contain_text("ready", timeout=SECONDS)
    wait_until(lambda: installation.service_pid("broker-1"), "a process")


def test_the_log_of_a_service_is_on_its_page(page: Page) -> None:
    page.goto("/services/")
    page.get_by_role("link", name=re.compile("^broker-1")).click()
    expect(page.locator("#service-log")).to_contain_text("ready")
    expect(page.locator("dd", has_text="-m broker --id 1")).to_be_visible()
