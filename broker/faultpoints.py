"""Bugs on purpose: five ways in which logs of this kind have lost data, for tests that have to notice them.

A suite that finds nothing proves nothing until it has been seen to find something. Each switch brings one well-known
mistake into this process, so that tests of faults can show that they would catch it. All are off unless the
environment variable ``OTTLA_FAULTPOINTS`` names them, separated by commas; it is read once, when the process starts.
A broker that has any on says so in its log at every start. Nobody turns one on but tests.

===========================  =====================================================================================
switch                       what goes wrong
===========================  =====================================================================================
skip_fsync                   flush rounds report success without fdatasync: a power cut takes acknowledged records
truncate_to_high_watermark   a follower cuts its log at its own high watermark when it begins to follow, before it
                             has asked the leader where its epochs end (what KIP-101 did away with)
ignore_leader_epoch          requests are not held to the leader epoch they were made for: neither fenced nor told
                             that they are ahead, and logs that diverge go unnoticed
drop_producer_state          a new leader does not know what producers wrote before: their retries become duplicates
delete_stray                 a partition's directory that the metadata does not know is deleted at the start
===========================  =====================================================================================

Whoever acts on a switch reads it as ``faultpoints.NAME`` where it is used, outside of loops over records or requests
on the hot path. The simulation sets them for the time of one run.
"""

from __future__ import annotations

import os

VARIABLE = "OTTLA_FAULTPOINTS"
NAMES = frozenset(
    {
        "skip_fsync",
        "truncate_to_high_watermark",
        "ignore_leader_epoch",
        "drop_producer_state",
        "delete_stray",
    }
)


def parse(text: str) -> frozenset[str]:
    """Raises ``ValueError`` for a name that there is not: a test with a typing error would test nothing."""
    chosen = frozenset(filter(None, (name.strip() for name in text.split(","))))
    if unknown := chosen - NAMES:
        raise ValueError(f"{VARIABLE} names {', '.join(sorted(unknown))}; there are only {', '.join(sorted(NAMES))}")
    return chosen


ENABLED = parse(os.environ.get(VARIABLE, ""))

SKIP_FSYNC = "skip_fsync" in ENABLED
TRUNCATE_TO_HIGH_WATERMARK = "truncate_to_high_watermark" in ENABLED
IGNORE_LEADER_EPOCH = "ignore_leader_epoch" in ENABLED
DROP_PRODUCER_STATE = "drop_producer_state" in ENABLED
DELETE_STRAY = "delete_stray" in ENABLED
