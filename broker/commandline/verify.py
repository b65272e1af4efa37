"""``manage.py verify_log``: which directories to verify, and what their checkpoints and neighbours say about them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.commandline.findings import Finding, Findings, Severity
from broker.commandline.log_files import FileKind, ReadOnlyFiles, kind_of, partition_of
from broker.commandline.outcome import WrongUse
from broker.commandline.verify_partition import Known, PartitionReport, Rules, verify_partition
from broker.storage.checkpoints import (
    CLEANER_FILE,
    HIGH_WATERMARK_FILE,
    LOG_START_FILE,
    META_PROPERTIES_FILE,
    RECOVERY_POINT_FILE,
    CheckpointDamaged,
    MetaProperties,
    read_offsets,
)
from broker.types import INTERNAL_TOPICS, TopicPartition, format_topic_id

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One partition's directory to verify."""

    directory: str
    partition: TopicPartition
    known: Known
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    targets: tuple[Target, ...]
    findings: Findings
    """About the log directories themselves."""


def survey(paths: list[str]) -> Survey:
    """Partitions below each path, which is a log directory or a partition's. Raises ``WrongUse``."""
    findings = Findings()
    targets: dict[str, Target] = {}
    for path in paths:
        path = os.path.abspath(path)
        if not os.path.isdir(path):
            raise WrongUse(f"{path} is no directory")
        own = partition_of(path)
        if own is not None and _is_partition(path):
            checkpoints = _Checkpoints(os.path.dirname(path), Findings())
            targets[path] = _target(path, own, checkpoints)
            continue
        found = _partitions_below(path)
        if not found and not os.path.exists(os.path.join(path, META_PROPERTIES_FILE)):
            raise WrongUse(f"{path} holds neither segments nor partitions")
        checkpoints = _Checkpoints(path, findings)
        _check_identity(path, findings)
        targets |= {directory: _target(directory, partition, checkpoints) for directory, partition in found.items()}
        checkpoints.check_absent(set(found.values()))
    return Survey(targets=tuple(targets[directory] for directory in sorted(targets)), findings=findings)


def verify(surveyed: Survey, rules: Rules, advanced: Callable[[int], None] = lambda count: None) -> Row:
    """The whole report. Raises ``OSError`` if the disk does not answer."""
    reports: dict[Target, PartitionReport] = {}
    findings: list[Finding] = list(surveyed.findings)
    left_out = surveyed.findings.left_out
    for target in surveyed.targets:
        # A policy is not known without the cluster; but Kafka's own topics have one, and compaction leaves its checkpoint.
        compacted = target.partition.topic in INTERNAL_TOPICS or target.known.compacted
        own = replace(rules, gaps_allowed=True) if compacted else rules
        report = reports[target] = verify_partition(target.directory, target.known, own, advanced)
        findings += report.findings
        left_out += report.findings.left_out
    findings += _check_topic_ids(reports)
    return {
        "partitions": len(reports),
        "segments": sum(report.segments for report in reports.values()),
        "batches": sum(report.batches for report in reports.values()),
        "records": sum(report.records for report in reports.values()),
        "bytes": sum(report.bytes for report in reports.values()),
        **{
            name: [finding.row() for finding in findings if finding.severity is severity]
            for name, severity in (
                ("damage", Severity.DAMAGE),
                ("torn_tails", Severity.TORN),
                ("warnings", Severity.WARNING),
            )
        },
        "findings_left_out": left_out,
    }


# Log directories -----------------------------------------------------------------------------------


class _Checkpoints:
    """The four offset checkpoints of a log directory. An unreadable one is damage, and says nothing."""

    def __init__(self, log_dir: str, findings: Findings) -> None:
        self._log_dir = log_dir
        self._findings = findings
        self._recovery = self._read(RECOVERY_POINT_FILE)
        self._starts = self._read(LOG_START_FILE)
        self._watermarks = self._read(HIGH_WATERMARK_FILE)
        self._compacted = self._read(CLEANER_FILE)

    def known(self, partition: TopicPartition) -> Known:
        return Known(
            recovery_point=self._recovery.get(partition),
            log_start=self._starts.get(partition),
            high_watermark=self._watermarks.get(partition),
            compacted=partition in self._compacted,
        )

    def check_absent(self, present: set[TopicPartition]) -> None:
        """A partition with durable data whose directory is gone; one that was deleted leaves the checkpoint soon."""
        for partition, offset in sorted(self._recovery.items()):
            if partition not in present and offset > 0:
                path = os.path.join(self._log_dir, RECOVERY_POINT_FILE)
                self._findings.warning(path, f"names {partition}, whose directory is not there", offset=offset)

    def _read(self, name: str) -> Mapping[TopicPartition, int]:
        path = os.path.join(self._log_dir, name)
        try:
            return read_offsets(ReadOnlyFiles(), path)
        except CheckpointDamaged as error:
            self._findings.damage(path, str(error))
            return {}


def _check_identity(log_dir: str, findings: Findings) -> None:
    path = os.path.join(log_dir, META_PROPERTIES_FILE)
    content = ReadOnlyFiles().read_file(path)
    if content is None:
        findings.warning(path, "missing: nobody knows whose directory this is")
        return
    try:
        MetaProperties.decode(content)
    except ValueError as error:
        findings.damage(path, f"cannot be read: {error}")


def _check_topic_ids(reports: Mapping[Target, PartitionReport]) -> Findings:
    """All partitions of a topic in one log directory carry the same id."""
    findings = Findings()
    first: dict[tuple[str, str], tuple[Target, bytes]] = {}
    for target, report in reports.items():
        if report.topic_id is None:
            continue
        log_dir = os.path.dirname(target.directory)
        other, topic_id = first.setdefault((log_dir, target.partition.topic), (target, report.topic_id))
        if topic_id != report.topic_id:
            what = (
                f"topic id {format_topic_id(report.topic_id)}, while {other.partition} has {format_topic_id(topic_id)}"
            )
            findings.damage(target.directory, what)
    return findings


def _partitions_below(path: str) -> dict[str, TopicPartition]:
    found: dict[str, TopicPartition] = {}
    for name in sorted(os.listdir(path)):
        directory = os.path.join(path, name)
        partition = partition_of(directory)
        if partition is not None and os.path.isdir(directory):
            found[directory] = partition
    return found


def _is_partition(path: str) -> bool:
    """By its files: the log directory of ``broker-1`` has the name of a partition too."""
    kinds = {known[0] for name in os.listdir(path) if (known := kind_of(name)) is not None}
    return bool(kinds) and not kinds & {FileKind.META_PROPERTIES, FileKind.OFFSETS}


def _target(directory: str, partition: TopicPartition, checkpoints: _Checkpoints) -> Target:
    log_bytes = 0
    with contextlib.suppress(FileNotFoundError):  # A running broker deletes files; this is only for the progress bar.
        for name in os.listdir(directory):
            log_bytes += os.path.getsize(os.path.join(directory, name)) if name.endswith(".log") else 0
    return Target(directory=directory, partition=partition, known=checkpoints.known(partition), log_bytes=log_bytes)
