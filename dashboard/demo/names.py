"""What the demo workload calls its topics and groups. Apart from it, so that pages need no Kafka client."""

from __future__ import annotations

METRICS_TOPIC = "demo.machine.metrics"
PROCESSES_TOPIC = "demo.machine.processes"
TOPICS = {METRICS_TOPIC: 3, PROCESSES_TOPIC: 2}
"""With their partition counts."""
TOPIC_CONFIGS = {"retention.ms": "3600000", "segment.ms": "600000"}
CURRENT_GROUP = "demo-live-view"
LAGGING_GROUP = "demo-archiver"
