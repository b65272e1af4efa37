"""Live target of the broker list: the same table as the overview's."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.live.view import View
from dashboard.pages.overview.live import OverviewPage


class BrokersPage(OverviewPage):
    name = "brokers"
    series: tuple[str, ...] = ()

    def targets(self, view: View) -> Sequence[str]:
        return ("overview-health", "overview-brokers")
