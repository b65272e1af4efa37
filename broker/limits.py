"""Every bound of the broker in one place, checked before memory is spent.

A limit that operators tune is a broker config (``broker/config/broker.py``) and only its default is
here. Relations between limits are asserted at import, before the process serves anything.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# Network -------------------------------------------------------------------------------------------
FRAME_BYTES_MAX = 100 * MIB
"""Default of ``socket.request.max.bytes``; a longer frame closes the connection."""
RECEIVE_BUFFER_BYTES = 1 * MIB
"""One per event loop, shared by all its connections."""
WRITE_BUFFER_HIGH_BYTES = 32 * KIB
"""Start no further request of a connection whose unsent responses exceed this, and count them from here on."""
WRITE_BUFFER_LOW_BYTES = 8 * KIB
UNSENT_BYTES_MAX = 256 * MIB
"""Counted unsent responses of all connections together; beyond it, who has not read for longest is disconnected. The
process may take half as much again for it: memory is not given back in the order it was taken."""
ACCEPT_DELAY_SECONDS_MAX = 30
"""A connection that would wait longer for its turn under ``max.connection.creation.rate`` is refused."""
OPEN_FILES_RESERVED = 1_024
"""File descriptors kept for segments, the metadata and the internal listener when the system allows few."""
PARKED_FETCH_PARTITIONS_MAX = 1_000_000
"""Partitions of all waiting fetches together; beyond it a fetch is answered at once instead of waiting."""
WAITING_REQUEST_BYTES_COUNTED = 8 * KIB
"""A request of this size or more counts as waiting input until it is answered; smaller ones are bounded by their number."""
PENDING_REQUESTS_MAX = 512
"""Requests of one connection received but not yet answered."""
CONNECTIONS_MAX = 10_000
CONNECTIONS_PER_ADDRESS_MAX = 10_000
CONNECTION_IDLE_MS = 600_000
CONNECTIONS_PAGE_MAX = 1_000
"""Connections in one answer to the operator."""

# Requests ------------------------------------------------------------------------------------------
FETCH_BYTES_MAX = 55 * MIB
FETCH_WAIT_MS_MAX = 300_000
FETCH_SESSION_PARTITIONS_MAX = 500_000
"""Partitions of all incremental fetch sessions together; a client that finds no room sends full fetches."""
REQUEST_PARTITIONS_MAX = 100_000
REQUEST_ELEMENTS_MAX = 4 * REQUEST_PARTITIONS_MAX
"""Array elements of one decoded request together, nested ones included."""
RESPONSE_ELEMENTS_MAX = 4_000_000
"""The same for responses, which come from brokers we chose to talk to."""
TOPIC_NAME_LENGTH_MAX = 249
CONFIG_RESOURCE_NAME_LENGTH_MAX = 1_024
"""Characters of the name of a group or of a client-metrics subscription that configs are kept for."""
GROUPS_WITH_CONFIGS_MAX = 10_000
CLIENT_METRICS_SUBSCRIPTIONS_MAX = 256
CLIENT_METRICS_PATTERN_LENGTH_MAX = 256
"""Characters of one regular expression in a subscription's `match`."""
CONFIG_VALUE_LENGTH_MAX = 65_536
"""Characters of one config value: it is kept in the metadata store and in the memory of every broker."""
QUOTED_LENGTH_MAX = 256
"""Characters of a client's text repeated in an error message."""
PARTITIONS_PER_TOPIC_MAX = 10_000
PARTITIONS_PER_REQUEST_MAX = 10_000
"""Partitions one CreateTopics or CreatePartitions request may add."""
CLIENT_ID_LENGTH_MAX = 32_767

# Quotas --------------------------------------------------------------------------------------------
QUOTA_CLIENTS_MAX = 10_000
"""Clients of one kind of quota that are measured by themselves; those beyond share one rate."""
QUOTA_OVERRIDES_MAX = 1_000
"""Client ids with a quota of their own, per kind."""
THROTTLE_MS_MAX = 300_000
"""The longest a connection is muted for one answer."""

# Client metrics (KIP-714) --------------------------------------------------------------------------
CLIENT_INSTANCES_MAX = 4_096
"""Clients that push metrics to one broker; the longest silent is forgotten for a new one."""
CLIENT_METRICS_INFLATED_BYTES_MAX = 8 * MIB
"""One push after decompression, whatever it was before."""
CLIENT_METRICS_POINTS_MAX = 1_000
"""Values kept of one client; further ones of a push are left out and counted."""
CLIENT_METRICS_FIELDS_MAX = 200_000
"""Fields read of one push: a field takes two bytes to send and a microsecond to read."""
CLIENT_METRICS_POINTS_TOTAL_MAX = 100_000
"""Values kept of all clients together."""
CLIENT_METRICS_ATTRIBUTES_MAX = 16
CLIENT_METRICS_TEXT_LENGTH_MAX = 256
"""Bytes of a metric's name, of a label, of a label's value."""
CLIENT_INSTANCES_PAGE_MAX = 100

# Storage -------------------------------------------------------------------------------------------
PRODUCER_BATCHES_CACHED = 5
"""Batches remembered per producer for duplicate detection (KIP-98)."""
PRODUCERS_PER_PARTITION_MAX = 100_000
VERIFICATIONS_PER_PARTITION_MAX = 10_000
"""Producers that wait to write the first batch of a transaction; beyond, the longest waiting has to ask again."""
DECOMPRESSED_BYTES_MAX = 64 * MIB
"""A batch that inflates beyond this is refused where the broker has to open it."""
OPEN_SEGMENTS_MAX = 512
"""Segment files of one log dir that are open at once; others reopen when they are used."""
INDEX_MEMORY_BYTES_MAX = 16 * MIB
"""Sparse indexes of one log dir kept in memory; others load again when they are used."""
DISK_FREE_FLOOR_BYTES = 256 * MIB
"""Default of ``disk.free.floor.bytes``: below it produce is refused."""

CLEANER_THREADS_MAX = 64
CLEANER_MAP_BYTES_MIN = 1 * MIB
"""Least value of ``log.cleaner.dedupe.buffer.size``: some 40,000 keys a pass."""

# Groups --------------------------------------------------------------------------------------------
GROUP_PENDING_MEMBERS_MAX = 10_000
"""Ids of one group given out with MEMBER_ID_REQUIRED and not used yet; a further one is refused."""
SUBSCRIPTION_REGEX_LENGTH_MAX = 4_096
SUBSCRIPTION_REGEX_MEMORY_BYTES_MAX = 1 * MIB
"""What one pattern of a subscription may take when it is compiled; a larger one is refused."""
CONSUMER_GROUP_PARTITIONS_MAX = 100_000
"""Partitions of all topics one group of the consumer protocol subscribes to; beyond it gets no new targets."""
MEMBER_ID_PREFIX_LENGTH_MAX = 200
"""Characters of a client or instance id that go into a member id, which is stored as a Kafka string."""

# Transactions --------------------------------------------------------------------------------------
TRANSACTION_COMPLETE_WAIT_MS = 100
"""How long a producer's next request waits for its last transaction to complete, before CONCURRENT_TRANSACTIONS. Kafka's
default of ``add.partitions.to.txn.retry.backoff.max.ms``."""

# Telemetry -----------------------------------------------------------------------------------------
SAMPLE_INTERVAL_MS = 1_000
GROUP_UPDATES_PER_SAMPLE_MAX = 1_000
"""Groups looked at again in one sample; with more in motion each of them is some seconds behind."""
SAMPLE_HISTORY_MAX = 30
"""Deltas kept for long polls that lag; older readers get a snapshot."""

assert WRITE_BUFFER_LOW_BYTES < WRITE_BUFFER_HIGH_BYTES
