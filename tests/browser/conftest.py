"""One installation and one Chromium for all browser tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser, Page, chromium, signed_in
from tests.support.installation import Installation


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("ottla") / "home") as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def page(browser: Browser, installation: Installation) -> Iterator[Page]:
    """Signed in as the administrator, light, 1440 pixels wide."""
    with signed_in(browser, installation.url) as opened:
        yield opened
