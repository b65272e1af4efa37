"""``python -m tests.faults.checker DIRECTORY``: the verdict on a run that was kept; status 1 if it failed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.checker.check import check_directory


def main() -> int:
    report = check_directory(Path(sys.argv[1]))
    print(report.text())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
