#!/usr/bin/env python3
"""Everything Ottla runs starts here; ``manage.py up`` starts all of it.

Works with any Python: one that lacks the dependencies hands over to the virtual environment ``make`` has built.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VIRTUAL_ENVIRONMENT = Path(__file__).resolve().parent / ".venv"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        _hand_over()
    execute_from_command_line(sys.argv)


def _hand_over() -> None:
    python = VIRTUAL_ENVIRONMENT / "bin" / "python"
    if Path(sys.prefix) == VIRTUAL_ENVIRONMENT or not python.exists():
        sys.exit("Ottla's dependencies are not installed here: `make run` installs them and starts everything.")
    os.execv(python, [str(python), *sys.argv])


if __name__ == "__main__":
    main()
