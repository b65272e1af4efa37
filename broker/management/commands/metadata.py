"""``manage.py metadata``: the cluster's metadata in a file, and back into an empty store of any kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from broker.commandline import metadata_backup
from broker.commandline.outcome import WrongUse
from broker.commandline.output import Output
from broker.config.broker import BrokerConfig
from broker.errors import KafkaError
from broker.management.kafka_command import KafkaCommand


class Command(KafkaCommand):
    help = (
        "Save the cluster's metadata (topics, configs, where partitions are) to a file, and restore it into an empty store. "
        "Which store: OTTLA_METADATA, else the file in OTTLA_HOME. A file saved from one kind fits the other."
    )
    needs_broker = False
    examples = """
manage.py metadata backup metadata.json
OTTLA_METADATA=zookeeper://zk1:2181,zk2:2181,zk3:2181/ottla python manage.py metadata restore metadata.json
"""

    def arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        action = add(
            "backup",
            "Save it. Brokers may run: the file is as of one moment, and written whole or not at all.",
            "manage.py metadata backup /backup/metadata.json",
        )
        action.add_argument("file", metavar="FILE", type=Path)
        action = add(
            "restore",
            "Fill an empty store, before any broker starts on it. Epochs and producer ids go on well beyond the saved ones, "
            "because they were given out further since.",
            "manage.py metadata restore /backup/metadata.json",
        )
        action.add_argument("file", metavar="FILE", type=Path)

    def run(self, output: Output, options: dict[str, Any]) -> None:
        try:
            config = BrokerConfig.from_environment(os.environ)
        except KafkaError as error:
            raise WrongUse(error.message) from error
        perform = metadata_backup.save if options["action"] == "backup" else metadata_backup.restore
        summary = perform(config, options["file"])
        if output.as_json:
            output.json(summary)
        else:
            done = "saved to" if options["action"] == "backup" else "restored from"
            output.line(
                f"cluster {summary['cluster_id']}, revision {summary['revision']}: {summary['topics']} topics, "
                f"{summary['keys']} keys {done} {summary['file']}"
            )
