"""Sessions in ZooKeeper: who lives, who holds a name, who has seen which revision.

Owns: the nodes below ``/sessions`` and ``/names``, and that the end of a session becomes one ordinary commit.

- Both nodes of a session are ephemeral: they go when the server has not heard of this process for the session timeout, by the server's
  monotonic clock, which does not run while there is no server to hear. What the loop itself owes is ``session_guard.py``.
- A commit with ephemeral keys needs the session's node, in the same change. So when the node is gone, the keys that the replica knows
  are all there will ever be, and whoever is alive deletes them (``reap``). Session ids are used once.
- A name is held until it is closed, also when the session was given up by its guard, so that no second broker takes the id of a
  broker that only hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import msgspec

from broker.clock import Clock
from broker.metadata import process_identity
from broker.metadata import zookeeper_layout as layout
from broker.metadata.acknowledgements import Acknowledgements
from broker.metadata.process_identity import Holder
from broker.metadata.session_guard import SessionGuard
from broker.metadata.store import SessionExpired, SessionNameTaken, StoreUnavailable
from broker.metadata.zookeeper_connection import Interrupted, Operation, Refused, ZookeeperConnection
from broker.metadata.zookeeper_layout import NameHolder
from broker.metadata.zookeeper_log import ZookeeperLog

NAME_MARGIN_SECONDS = 2.0
"""How much longer than its session timeout a name of unknown holder is waited for: servers look at sessions in ticks."""
NAME_LOOK_SECONDS = 0.2
ACKNOWLEDGED_LOOK_SECONDS = 1.0
"""How often to look without being told."""


class ZookeeperSessions:
    def __init__(self, connection: ZookeeperConnection, log: ZookeeperLog, clock: Clock) -> None:
        self._connection = connection
        self._log = log
        self._guard = SessionGuard(clock, lambda session: connection.delete_from_thread(layout.session_path(session)))
        self._timeouts_ms: dict[str, int] = {}
        """Of our own sessions, from opening to closing."""
        self._acknowledgements = Acknowledgements(self._have_acknowledged, look_seconds=ACKNOWLEDGED_LOOK_SECONDS)

    def start(self) -> None:
        self._guard.start()

    async def close(self) -> None:
        self._guard.stop()
        for session in list(self._timeouts_ms):
            await self.close_session(session)

    def on_event(self) -> None:
        self._acknowledgements.news()

    # One's own -------------------------------------------------------------------------------------

    async def open_session(self, name: str, timeout_ms: int) -> str:
        assert "/" not in name
        session = f"{name}-{secrets.token_hex(8)}"
        holder = NameHolder(session=session, timeout_ms=timeout_ms, process=process_identity.identity_of_this_process())
        try:
            await self._become(name, holder)
        except BaseException:
            with contextlib.suppress(StoreUnavailable):
                await self._release_name(session)
            raise
        self._timeouts_ms[session] = timeout_ms
        self._guard.extend(session, timeout_ms)
        return session

    async def _become(self, name: str, holder: NameHolder) -> None:
        while True:
            await self._take_name(name, holder)
            # The name is ours, so whoever had these sessions is gone.
            await self._log.catch_up()
            for former in self._log.replica.sessions_with_keys():
                if former.rpartition("-")[0] == name:
                    await self._drop(former)
            try:
                await self._until_answered(
                    ("check", layout.name_path(name), -1), ("create", layout.session_path(holder.session), b"0", True)
                )
            except Refused as refused:
                if refused.index == 0:
                    continue  # our connection's session ran out in between, and the name went with it
            return

    async def renew_session(self, session: str) -> None:
        timeout_ms = self._timeouts_ms.get(session)
        if timeout_ms is None:
            raise SessionExpired(session)
        looking = asyncio.ensure_future(self._connection.get_now(layout.session_path(session)))
        try:
            while not looking.done():
                # Whoever waits for the servers is alive: their absence must not end the session.
                self._guard.extend(session, timeout_ms)
                await asyncio.wait({looking}, timeout=timeout_ms / 4000)
        finally:
            looking.cancel()
        if looking.result() is None or self._guard.gave_up(session):
            raise SessionExpired(session)
        self._guard.extend(session, timeout_ms)

    async def close_session(self, session: str) -> None:
        """Also one that is not ours, or gone."""
        await self._drop(session)
        await self._release_name(session)
        self._guard.forget(session)
        self._timeouts_ms.pop(session, None)

    async def acknowledge(self, session: str, revision: int) -> None:
        with contextlib.suppress(Refused):  # it ended
            await self._connection.change(("set", layout.session_path(session), str(revision).encode(), -1))

    # Those of all ----------------------------------------------------------------------------------

    async def reap(self) -> int:
        """Delete the keys of sessions that are gone; of how many. Asks to be told of the next end."""
        await self._log.catch_up()
        owners = self._log.replica.sessions_with_keys()
        # Read after the replica: a session that has keys there was alive before, so one that is missing now has ended.
        living = set(await self._connection.children_now(layout.SESSIONS, watch=True))
        ended = 0
        for session in sorted(owners - living):
            ended += await self._log.end_session(session)
        return ended

    async def wait_acknowledged(self, revision: int, timeout_seconds: float) -> bool:
        return await self._acknowledgements.wait(revision, timeout_seconds)

    async def _have_acknowledged(self, revision: int) -> bool:
        sessions = await self._connection.children_now(layout.SESSIONS, watch=True)
        found = await self._connection.get_all([layout.session_path(session) for session in sessions], watch=True)
        return all(node is None or int(node[0]) >= revision for node in found)

    # Names -----------------------------------------------------------------------------------------

    async def _take_name(self, name: str, holder: NameHolder) -> None:
        path, value = layout.name_path(name), msgspec.json.encode(holder)
        deadline: float | None = None
        while True:
            with contextlib.suppress(Refused, Interrupted):
                await self._connection.change(("create", path, value, True))
                return
            found = await self._connection.get_now(path)
            if found is None:
                continue
            if found[0] == value:
                return  # ours: the answer was lost
            other = msgspec.json.decode(found[0], type=NameHolder)
            match process_identity.holder_of(other.process):
                case Holder.ALIVE:
                    raise SessionNameTaken(f"a living process holds the session {name!r}")
                case Holder.DEAD:
                    await self._drop(other.session)
                    with contextlib.suppress(Refused, Interrupted):
                        await self._connection.change(("delete", path, found[1]))
                case Holder.UNKNOWN:
                    # It is on another machine. If it is dead, the servers know when its timeout is over.
                    now = asyncio.get_running_loop().time()
                    deadline = deadline or now + other.timeout_ms / 1000 + NAME_MARGIN_SECONDS
                    if now > deadline:
                        raise SessionNameTaken(f"a living process elsewhere holds the session {name!r}")
                    await asyncio.sleep(NAME_LOOK_SECONDS)

    async def _release_name(self, session: str) -> None:
        name = session.rpartition("-")[0]
        if not name:
            return  # nobody was ever given such an id
        path = layout.name_path(name)
        found = await self._connection.get_now(path)
        if found is not None and msgspec.json.decode(found[0], type=NameHolder).session == session:
            with contextlib.suppress(Refused):  # it went by itself
                await self._until_answered(("delete", path, found[1]))

    async def _drop(self, session: str) -> None:
        """First the node, so that nothing more is written for the session, then its keys."""
        with contextlib.suppress(Refused):
            await self._until_answered(("delete", layout.session_path(session), -1))
        await self._log.end_session(session)

    async def _until_answered(self, *steps: Operation) -> None:
        """For what may be done twice: the second time it is refused."""
        while True:
            try:
                await self._connection.change(*steps)
            except Interrupted:
                continue
            return
