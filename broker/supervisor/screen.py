"""What a person watching ``manage.py up`` sees. The only place of the supervisor that prints."""

from __future__ import annotations

import sys
from typing import TextIO

from broker.supervisor.options import Options
from broker.supervisor.service import ServiceSpec

NAME_WIDTH = 10

_COLOURS = {"good": "\033[32m", "warn": "\033[33m", "bad": "\033[31m", "dim": "\033[2m"}
_RESET = "\033[0m"


class Screen:
    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty()

    def line(self, text: str, tone: str = "") -> None:
        """One line, at once. A closed terminal or pipe is no reason to stop serving."""
        if tone and self._colours:
            text = f"{_COLOURS[tone]}{text}{_RESET}"
        try:
            print(text, file=self._stream, flush=True)
        except (BrokenPipeError, OSError, ValueError):
            return

    def status(self, name: str, text: str, tone: str = "") -> None:
        self.line(f"  {name:<{NAME_WIDTH}}  {text}", tone)

    def child_line(self, name: str, text: str) -> None:
        self.line(f"  {name:<{NAME_WIDTH}} | {text}", "dim")

    def heading(self, version: str, options: Options) -> None:
        what = f"only {options.only}, " if options.only else ""
        self.line(f"Ottla {version}: {what}home {options.home}")

    def ready(self, options: Options, specs: list[ServiceSpec], seconds: float) -> None:
        roles = {spec.role for spec in specs}
        self.line(f"Ottla is ready after {seconds:.1f} s", "good")
        if "web" in roles:
            self.status("dashboard", f"http://{options.http.reachable()}/  (log in as admin)")
        if "broker" in roles:
            brokers = [options.client_endpoint(number + 1) for number in range(options.brokers)]
            self.status("kafka", ",".join(str(endpoint.reachable()) for endpoint in brokers))
        self.status("logs", f"{options.home}/logs/")
        self.line("Ctrl-C stops everything.")
