"""Which runs a list shows: filters and page in the URL, rows from the database.

The rows are read, never changed here; ``broker.jobs.runs`` owns every change of state.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import QueryDict

from broker.models import JobRun
from dashboard.pages.paging import Paged, page_number

PAGE_MAX = 10_000
STATES = {
    "active": ("Waiting or running", (JobRun.State.QUEUED, JobRun.State.RUNNING)),
    "succeeded": ("Succeeded", (JobRun.State.SUCCEEDED,)),
    "failed": ("Failed", (JobRun.State.FAILED,)),
    "cancelled": ("Cancelled", (JobRun.State.CANCELLED,)),
}
TRIGGERS: dict[str, str] = {
    str(JobRun.Trigger.BEAT): "By schedule",
    str(JobRun.Trigger.PERSON): "By a person",
    str(JobRun.Trigger.COMMAND): "From the command line",
}
TEXT_LENGTH_MAX = 249


class RunsList(Paged):
    """``?state=&trigger=&effect=1&broker=&q=&page=``."""

    def __init__(self, query: QueryDict | Mapping[str, str]) -> None:
        self.state = _known(query.get("state"), STATES)
        self.trigger = _known(query.get("trigger"), TRIGGERS)
        self.effect = query.get("effect") == "1"
        broker = query.get("broker") or ""
        self.broker = broker if broker.isdecimal() and len(broker) < 10 else ""
        self.text = (query.get("q") or "").strip()[:TEXT_LENGTH_MAX]
        self.page = min(PAGE_MAX, page_number(query.get("page") or ""))
        runs = JobRun.objects.all()
        self.total = runs.count()
        matching = self._filtered(runs)
        self.matching = matching.count()
        self.page = min(self.page, self.pages)
        self.rows = list(matching[self.window])

    def _filtered(self, runs: QuerySet[JobRun]) -> QuerySet[JobRun]:
        if self.state:
            runs = runs.filter(state__in=STATES[self.state][1])
        if self.trigger:
            runs = runs.filter(trigger=self.trigger)
        if self.broker:
            runs = runs.filter(broker_id=int(self.broker))
        if self.effect:
            runs = runs.filter(segments_deleted__gt=0)
        if self.text:
            words = Q(topic__icontains=self.text) | Q(requested_by__icontains=self.text) | Q(error__icontains=self.text)
            runs = runs.filter(words)
        return runs

    @property
    def is_filtered(self) -> bool:
        return bool(self.state or self.trigger or self.broker or self.effect or self.text)

    # Addresses -------------------------------------------------------------------------------------

    def page_url(self, page: int) -> str:
        return self.url(page=str(page))

    @property
    def chips(self) -> list[tuple[str, str, bool]]:
        """(words, address that turns it on or off, whether it is on)."""
        states = [
            (words, self.url(state="" if key == self.state else key, page=""), key == self.state)
            for key, (words, _) in STATES.items()
        ]
        triggers = [
            (words, self.url(trigger="" if key == self.trigger else key, page=""), key == self.trigger)
            for key, words in TRIGGERS.items()
        ]
        effect = ("Freed something", self.url(effect="" if self.effect else "1", page=""), self.effect)
        return [*states, *triggers, effect]

    @property
    def hidden_fields(self) -> dict[str, str]:
        """What the text filter's form carries along."""
        return {name: value for name, value in self._values().items() if value and name not in ("q", "page")}

    def url(self, **changes: str) -> str:
        values = {name: value for name, value in {**self._values(), **changes}.items() if value}
        return f"?{urlencode(values)}" if values else "?"

    def _values(self) -> dict[str, str]:
        return {
            "state": self.state,
            "trigger": self.trigger,
            "effect": "1" if self.effect else "",
            "broker": self.broker,
            "q": self.text,
            "page": str(self.page) if self.page > 1 else "",
        }


def _known(value: str | None, choices: Mapping[str, object]) -> str:
    return value if value is not None and value in choices else ""
