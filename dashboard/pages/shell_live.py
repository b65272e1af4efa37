"""The live part every page has: the badge that says how fresh the data is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dashboard.live.state import CLUSTER
from dashboard.live.view import Fragment, View


class ShellPage:
    """A page without live targets of its own (jobs, services, admin): it still shows freshness."""

    name = "shell"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER,)
    series: tuple[str, ...] = ()

    def arrange(self, view: View) -> None:
        """No rows to order."""

    def targets(self, view: View) -> Sequence[str]:
        return ()

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        return ()

    def fragment(self, view: View, target: str) -> Fragment | None:
        return None
