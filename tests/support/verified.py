"""What `manage.py verify_log` says of a stopped broker's files: asked after every test that had a broker of its own."""

from __future__ import annotations

from pathlib import Path

from broker.commandline.verify import survey, verify
from broker.commandline.verify_partition import Rules


def assert_log_is_sound(data_directory: Path, *, gaps_allowed: bool = False, torn_tails_allowed: bool = False) -> None:
    """Every batch of every segment, each index and snapshot. ``gaps_allowed``: topics were compacted."""
    if not data_directory.exists():
        return
    report = verify(survey([str(data_directory)]), Rules(deep=True, gaps_allowed=gaps_allowed))
    assert not report["damage"], report["damage"]
    assert torn_tails_allowed or not report["torn_tails"], report["torn_tails"]
