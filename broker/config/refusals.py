"""Broker configs of Kafka's that this broker cannot act on, and what to say to whoever sets one.

Only the default is accepted: a value that is taken and then does nothing would be a promise broken in silence. Whoever
makes one act takes it out here.
"""

from __future__ import annotations

_ONE_LOOP = "A broker is one event loop; more cores take more brokers."
_NO_AUTHENTICATION = "Clients do not authenticate yet; the internal listener has its own proof."
_NO_AUTHORIZATION = "There are no access control lists yet."

REFUSALS: dict[str, str] = {
    "num.network.threads": _ONE_LOOP,
    "num.io.threads": _ONE_LOOP,
    "background.threads": _ONE_LOOP,
    "queued.max.requests": "Requests are not queued: a connection that may not start its next one is not read.",
    "listener.security.protocol.map": "Both listeners speak PLAINTEXT; there is no TLS yet.",
    "inter.broker.listener.name": "Brokers speak over the listener called INTERNAL, and no other admits them.",
    "connection.failed.authentication.delay.ms": _NO_AUTHENTICATION,
    "connections.max.reauth.ms": _NO_AUTHENTICATION,
    "sasl.enabled.mechanisms": _NO_AUTHENTICATION,
    "sasl.server.max.receive.size": _NO_AUTHENTICATION,
    "authorizer.class.name": _NO_AUTHORIZATION,
    "super.users": _NO_AUTHORIZATION,
    "allow.everyone.if.no.acl.found": _NO_AUTHORIZATION,
    "num.replica.fetchers": "One connection carries all that is fetched from a leader, and a second one what is far behind; "
    "more would end in the same event loop.",
    "controlled.shutdown.enable": "A broker always leaves its cluster in order; that cannot be switched off.",
    "log.dir.failure.timeout.ms": "A failed log directory is reported at once; the broker stays and says why it refuses.",
    "num.recovery.threads.per.data.dir": "Logs are recovered one after the other.",
    "log.flush.start.offset.checkpoint.interval.ms": "Log start offsets are written down together with recovery points: "
    "see log.flush.offset.checkpoint.interval.ms.",
    "log.retention.check.interval.ms": "The schedule of the Celery workers decides when retention is looked at.",
    "remote.log.storage.system.enable": "There is no tiered storage yet.",
}
