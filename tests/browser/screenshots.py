"""``make screenshots``: every page, light and dark, 1440 and 390 pixels wide, into ``screenshots/``.

Starts an installation of its own with a little traffic, or takes a running one: ``--url http://127.0.0.1:8000
--password …``. The pictures are for looking at; nothing compares them.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from tests.browser.chromium import Browser, Page, Theme, chromium, collect_errors, sign_in
from tests.browser.workload import Workload
from tests.support.installation import ADMIN_NAME, ADMIN_PASSWORD, Installation
from tests.support.wait import wait_until

OUTPUT = Path(__file__).resolve().parents[2] / "screenshots"
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTHS = {1440: 900, 390: 844}
SETTLE_MS = 1_500
"""For the first pushes, so that charts and ages are there."""
TRAFFIC_SECONDS = 45.0
"""Long enough for verdicts, which compare half minutes."""

BROKERS = 3
FAILING = 2
FAILURE_SECONDS = 20.0
"""A session timeout, and time for the others to take over."""

PAGES = {
    "overview": "/",
    "topics": "/topics/",
    "topics-internal": "/topics/?internal=1",
    "topics-no-match": "/topics/?q=no-such-topic",
    "topic-partitions": "/topics/orders/",
    "topic-segments": "/topics/archive/?tab=segments",
    "topic-segments-time": "/topics/archive/?tab=segments&axis=time",
    "topic-segments-active": "/topics/orders/?tab=segments&partition=2",
    "topic-messages": "/topics/orders/?tab=messages",
    "topic-messages-filtered": "/topics/orders/?tab=messages&q=value.total_cents+%3D+37+and+key+%3D+1&from=oldest",
    "message": "/topics/orders/messages/0/0/",
    "topic-tail": "/topics/orders/?tab=tail",
    "topic-produce": "/topics/orders/?tab=produce",
    "topic-groups": "/topics/orders/?tab=groups",
    "topic-configuration": "/topics/orders/?tab=configuration",
    "topic-producers": "/topics/ledger/?tab=producers",
    "topic-held-back": "/topics/ledger/",
    "topic-missing": "/topics/no-such-topic/",
    "groups": "/groups/",
    "group": "/groups/search-indexer/",
    "group-new-protocol": "/groups/ledger-audit/",
    "group-reset-choose": "/groups/by-id/reset-offsets?group=report-builder",
    "group-reset-check": "/groups/by-id/reset-offsets?group=report-builder&topic=orders&to=shift&shift=500",
    "group-reset-busy": "/groups/by-id/reset-offsets?group=billing&topic=payments&to=latest",
    "group-configs": "/groups/by-id/configs?group=ledger-audit",
    "group-config": "/groups/by-id/config?group=ledger-audit&name=consumer.session.timeout.ms",
    "group-config-check": "/groups/by-id/config?group=ledger-audit&name=consumer.session.timeout.ms&value=60+s",
    "group-delete": "/groups/by-id/delete?group=report-builder",
    "group-delete-offsets": "/groups/by-id/delete-offsets?group=report-builder&topic=orders",
    "clients": "/clients/",
    "client-metrics": "/clients/metrics/",
    "transactions": "/transactions/",
    "transactions-no-match": "/transactions/?show=hanging",
    "transaction": "/transactions/one?id=ledger-closing",
    "transaction-abort": "/transactions/abort?id=ledger-closing",
    "brokers": "/brokers/",
    "broker": "/brokers/1/",
    "broker-missing": "/brokers/99/",
    "rolling-restart": "/brokers/rolling-restart/",
    "decommission": "/brokers/1/decommission/",
    "replication": "/replication/",
    "replication-elsewhere": "/replication/?show=elsewhere",
    "replication-no-match": "/replication/?q=no-such-topic",
    "reassign-choose": "/replication/reassign/",
    "reassign-check": "/replication/reassign/?topic=orders&to=exactly&replicas=1&throttle=10+MiB",
    "reassign-wrong": "/replication/reassign/?partitions=orders&to=exactly&replicas=&throttle=fast",
    "moves": "/replication/moves/",
    "cancel-moves": "/replication/moves/cancel/",
    "elect-leaders": "/replication/elect-leaders/",
    "controller": "/controller/",
    "broker-configs": "/brokers/1/configs/?show=dynamic",
    "broker-config": "/brokers/1/configs/log.retention.ms/",
    "broker-config-check": "/brokers/all/configs/log.retention.ms/?value=3+d",
    "jobs": "/jobs/",
    "services": "/services/",
    "admin": "/admin/",
    "admin-topics": "/admin/dashboard/topic/",
    "admin-topic-add": "/admin/dashboard/topic/add/",
    "admin-topic-change": "/admin/dashboard/topic/orders/change/",
    "admin-topic-delete": "/admin/dashboard/topic/orders/delete/",
    "admin-audit": "/admin/dashboard/auditentry/",
}


def _open_client(page: Page) -> None:
    page.goto("/clients/?q=shop")
    page.get_by_role("link", name="shop", exact=True).click()


def _open_disconnect(page: Page) -> None:
    _open_client(page)
    page.get_by_role("link", name="Disconnect", exact=True).click()


def _open_pushed_metrics(page: Page) -> None:
    page.goto("/clients/metrics/")
    page.locator("#instances-h").locator("xpath=ancestor::section").get_by_role("link").first.click()


def _finish_reset(page: Page) -> None:
    page.goto("/groups/by-id/reset-offsets?group=monthly-report&topic=orders&to=latest")
    page.get_by_label("Type").fill("monthly-report")
    page.get_by_role("button", name="Reset the offsets").click()


def _see_moves(page: Page) -> None:
    """One that takes its time is under way, whoever looked before."""
    page.goto("/replication/moves/")
    if page.get_by_text("Nothing is being moved.").count():
        page.goto("/replication/reassign/?topic=archive&to=exactly&replicas=1,2,3&throttle=64+KiB")
        page.get_by_role("button", name="Move the partitions").click()


def _ask_to_cancel(page: Page) -> None:
    _see_moves(page)
    page.goto("/replication/moves/cancel/")


def _open_run(page: Page) -> None:
    page.goto("/jobs/")
    page.locator("#jobs-part .ot-rowlink").first.click()


WALKS: dict[str, Callable[[Page], None]] = {
    "client": _open_client,
    "client-disconnect": _open_disconnect,
    "client-instance": _open_pushed_metrics,
    "group-reset-done": _finish_reset,
    "job-run": _open_run,
    "moves-under-way": _see_moves,
    "cancel-moves-under-way": _ask_to_cancel,
}
"""Pages whose address nobody knows beforehand: they are walked to."""
FIRST_RUN = (
    "topics",
    "replication",
    "controller",
    "brokers",
    "groups",
    "clients",
    "client-metrics",
    "transactions",
    "jobs",
)
"""What they show while there is nothing to show."""

FAILURE_PAGES = {
    "failure-overview": "/",
    "failure-replication": "/replication/",
    "failure-controller": "/controller/",
    "failure-brokers": "/brokers/",
    "failure-broker": f"/brokers/{FAILING}/",
    "failure-topic": "/topics/orders/",
    "failure-topics": "/topics/",
    "failure-elect-leaders": "/replication/elect-leaders/",
    "failure-rolling-restart": "/brokers/rolling-restart/",
}
"""While one broker of three does not answer."""

RESTART_PAGES = {
    "restart-under-way": "/jobs/{run}/",
    "restart-begun": "/brokers/rolling-restart/",
    "restart-jobs": "/jobs/?state=active",
}
"""While a broker is being restarted and its new process has not come far."""


def main() -> None:
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    chosen = arguments.only.split(",") if arguments.only else [*PAGES, *WALKS, *RESTART_PAGES, *FAILURE_PAGES]
    wanted: dict[str, str | Callable[[Page], None]] = {
        name: how for name, how in {**PAGES, **WALKS}.items() if name in chosen
    }
    during_restart = {name: url for name, url in RESTART_PAGES.items() if name in chosen}
    during_failure = {name: url for name, url in FAILURE_PAGES.items() if name in chosen}
    with _installation(arguments) as (url, password, traffic, failure, restart), chromium() as browser:
        if not arguments.only:
            _take_first_run(browser, url, password, arguments.output)
        with traffic():
            for theme in THEMES:
                for width in WIDTHS:
                    _take(browser, url, password, wanted, theme, width, arguments.output)
            if failure is not None and during_failure:
                with failure():
                    for theme in THEMES:
                        for width in WIDTHS:
                            _take(browser, url, password, during_failure, theme, width, arguments.output)
            if restart is not None and during_restart:
                with restart(browser) as run:
                    pages = {name: address.format(run=run) for name, address in during_restart.items()}
                    for theme in THEMES:
                        for width in WIDTHS:
                            _take(browser, url, password, pages, theme, width, arguments.output)
    print(f"pictures are in {arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running installation (default: start one with traffic)")
    parser.add_argument("--password", default=os.environ.get("OTTLA_ADMIN_PASSWORD", ADMIN_PASSWORD))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--only", metavar="PAGE,…", help=f"some of: {', '.join([*PAGES, *WALKS, *RESTART_PAGES, *FAILURE_PAGES])}"
    )
    return parser.parse_args()


@contextmanager
def _installation(arguments: argparse.Namespace) -> Iterator[tuple]:
    """(address, password, context managers that make traffic, a failure and a rolling restart)."""
    if arguments.url:
        yield arguments.url.rstrip("/"), arguments.password, nullcontext, None, None
        return
    with (
        tempfile.TemporaryDirectory(prefix="ottla-screenshots-") as directory,
        Installation(Path(directory) / "home", OTTLA_BROKERS=str(BROKERS)) as ottla,
    ):
        restart = partial(_restart, ottla)
        yield ottla.url, ADMIN_PASSWORD, lambda: _traffic(ottla), lambda: _failure(ottla), restart


@contextmanager
def _failure(ottla: Installation) -> Iterator[None]:
    """One broker hangs, until the others have taken over."""
    pid = ottla.service_pid(f"broker-{FAILING}")
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(FAILURE_SECONDS)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _restart(ottla: Installation, browser: Browser) -> Iterator[str]:
    """A rolling restart whose second broker is held while it starts; the number of the run."""
    before = {one: ottla.service_pid(f"broker-{one}") for one in range(1, BROKERS + 1)}
    with _page(browser, ottla.url, "light", 1440) as page:
        sign_in(page, ADMIN_NAME, ADMIN_PASSWORD)
        button = page.get_by_role("button", name="Begin the restart")
        wait_until(lambda: page.goto("/brokers/rolling-restart/") and button.count(), "it can begin", seconds=120)
        button.click()
        page.wait_for_url("**/jobs/*/")
        run = page.url.rstrip("/").rpartition("/")[2]
        # Not the first: so that the list shows one that is done, too.
        second = page.locator("#restart-steps tbody tr").nth(1).get_attribute("id") or ""
    held = int(second.removeprefix("restart-"))
    wait_until(lambda: ottla.service_pid(f"broker-{held}") not in (0, before[held]), "it starts", seconds=120)
    pid = ottla.service_pid(f"broker-{held}")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield run
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _traffic(ottla: Installation) -> Iterator[None]:
    with Workload(ottla.bootstrap, brokers=BROKERS):
        print(f"letting real clients run for {TRAFFIC_SECONDS:g} s")
        time.sleep(TRAFFIC_SECONDS)
        yield


def _take_first_run(browser: Browser, url: str, password: str, output: Path) -> None:
    """What somebody sees before anything has been written, and the login page."""
    for theme in THEMES:
        for width in WIDTHS:
            with _page(browser, url, theme, width) as page:
                page.goto("/login/")
                page.wait_for_timeout(500)
                page.screenshot(path=output / f"login-{theme}-{width}.png")
                sign_in(page, ADMIN_NAME, password)
                page.wait_for_timeout(SETTLE_MS)
                page.screenshot(path=output / f"first-run-{theme}-{width}.png", full_page=True)
                for name in FIRST_RUN:
                    page.goto(PAGES[name])
                    page.wait_for_timeout(SETTLE_MS)
                    page.screenshot(path=output / f"first-run-{name}-{theme}-{width}.png", full_page=True)


def _take(
    browser: Browser,
    url: str,
    password: str,
    pages: Mapping[str, str | Callable[[Page], None]],
    theme: Theme,
    width: int,
    output: Path,
) -> None:
    with _page(browser, url, theme, width) as page:
        sign_in(page, ADMIN_NAME, password)
        errors = collect_errors(page)
        for name, address in pages.items():
            status = _go(page, address)
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=output / f"{name}-{theme}-{width}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            remarks = [f"status {status}"] if status != 200 else []
            remarks += [f"{wide} pixels wide"] if wide > width else []
            print(f"{name} {theme} {width}", *remarks, *errors, sep=" · ")
            errors.clear()
        if width > 1000:
            _take_dialogs(page, output, theme, width)


def _go(page: Page, address: str | Callable[[Page], None]) -> int:
    """The status of the answer; of a page that is walked to only whether it was reached."""
    if callable(address):
        address(page)
        page.wait_for_load_state()
        return 200
    answer = page.goto(address)
    return answer.status if answer is not None else 0


def _take_dialogs(page: Page, output: Path, theme: Theme, width: int) -> None:
    page.goto("/")
    page.wait_for_timeout(SETTLE_MS)
    for name, key in (("palette", "Control+k"), ("help", "?")):
        page.keyboard.press(key)
        page.wait_for_timeout(500)
        page.screenshot(path=output / f"{name}-{theme}-{width}.png")
        page.keyboard.press("Escape")


@contextmanager
def _page(browser: Browser, url: str, theme: Theme, width: int) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=theme, base_url=url)
    try:
        yield context.new_page()
    finally:
        context.close()


if __name__ == "__main__":
    main()
