"""Saving the cluster's metadata to a file, and filling an empty store from it: the same file for every kind of store.

Owns: the file's format, and what has to be different after going back in time. Time went on since the backup: partitions had other
leaders, producers got ids, controllers were elected. None of that may happen a second time under the same number, so epochs
and the next producer id are raised beyond what can have been given out meanwhile. What lives with a session (who is alive, who is
controller) is not saved.

The file (``FORMAT_VERSION`` 1; a later version reads both): JSON with the entries as they are in the store, and their SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from broker.clock import SystemClock
from broker.cluster import records
from broker.cluster.store_choice import metadata_store
from broker.commandline.outcome import CommandFailed
from broker.config.broker import BrokerConfig
from broker.metadata.store import Absent, Entry, MetadataStore, PreconditionFailed, StoreError, Transaction

FORMAT_VERSION = 1
EPOCHS_AHEAD = 10_000
"""More elections than one partition has between two backups."""
PRODUCER_IDS_AHEAD = 1_000_000_000


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    revision: int
    made_at_ms: int
    entries: dict[str, bytes]
    sha256: str


def save(config: BrokerConfig, path: Path) -> dict[str, Any]:
    """Of a store in use or at rest, as of one moment. The file is there whole or not at all."""
    clock = SystemClock()

    async def read(store: MetadataStore) -> Backup:
        snapshot = await store.range()
        entries = {entry.key: entry.value for entry in snapshot.entries if _lasts(entry)}
        return Backup(
            format=FORMAT_VERSION,
            revision=snapshot.revision,
            made_at_ms=clock.wall_ms(),
            entries=entries,
            sha256=_digest(entries),
        )

    backup = asyncio.run(_with_store(config, read))
    if records.CLUSTER not in backup.entries:
        raise CommandFailed("there is no cluster's metadata in this store: is OTTLA_HOME or OTTLA_METADATA right?")
    _write(path, msgspec.json.format(msgspec.json.encode(backup), indent=1))
    return _summary(backup, path)


def restore(config: BrokerConfig, path: Path) -> dict[str, Any]:
    """Into an empty store; brokers must not run yet."""
    backup = load(path)

    async def fill(store: MetadataStore) -> None:
        if (await store.range()).entries:
            raise CommandFailed("the store is not empty: restoring is for a store that was lost, not for going back")
        puts = {key: _raised(key, value) for key, value in backup.entries.items()}
        try:
            await store.commit(Transaction(preconditions=(Absent(records.CLUSTER),), puts=puts))
        except PreconditionFailed as error:
            raise CommandFailed("a broker has begun a new cluster in this store meanwhile: stop it first") from error

    asyncio.run(_with_store(config, fill))
    return _summary(backup, path)


def load(path: Path) -> Backup:
    try:
        backup = msgspec.json.decode(path.read_bytes(), type=Backup)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"{path} is no backup of metadata: {error}") from error
    if backup.format > FORMAT_VERSION:
        raise CommandFailed(f"{path} was written by a newer version (format {backup.format})")
    if backup.sha256 != _digest(backup.entries):
        raise CommandFailed(f"{path} is damaged: its checksum does not fit")
    return backup


async def _with_store(config: BrokerConfig, work: Any) -> Any:
    store = metadata_store(config, SystemClock())
    try:
        await store.start()
        return await work(store)
    except StoreError as error:
        raise CommandFailed(f"the metadata store cannot be used: {error}") from error
    finally:
        await store.close()


def _lasts(entry: Entry) -> bool:
    return entry.key != records.CONTROLLER and not entry.key.startswith((records.BROKERS, records.STOPPING))


def _raised(key: str, value: bytes) -> bytes:
    if key == records.CONTROLLER_EPOCH:
        controller = records.decode(key, value, records.ControllerEpochRecord)
        return records.encode(msgspec.structs.replace(controller, epoch=controller.epoch + EPOCHS_AHEAD))
    if key == records.PRODUCER_IDS:
        ids = records.decode(key, value, records.ProducerIdsRecord)
        return records.encode(records.ProducerIdsRecord(next_producer_id=ids.next_producer_id + PRODUCER_IDS_AHEAD))
    if key.startswith(records.PARTITIONS):
        partition = records.decode(key, value, records.PartitionRecord)
        return records.encode(
            msgspec.structs.replace(
                partition,
                leader_epoch=partition.leader_epoch + EPOCHS_AHEAD,
                partition_epoch=partition.partition_epoch + EPOCHS_AHEAD,
            )
        )
    return value


def _digest(entries: dict[str, bytes]) -> str:
    return hashlib.sha256(msgspec.json.encode(sorted(entries.items()))).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Readable by its owner only: configs may hold secrets."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandFailed(f"{path}: {error.strerror}") from error


def _summary(backup: Backup, path: Path) -> dict[str, Any]:
    cluster = records.decode(records.CLUSTER, backup.entries[records.CLUSTER], records.ClusterRecord)
    return {
        "file": str(path),
        "cluster_id": cluster.cluster_id,
        "revision": backup.revision,
        "made_at_ms": backup.made_at_ms,
        "topics": sum(key.startswith(records.TOPICS) for key in backup.entries),
        "keys": len(backup.entries),
    }
