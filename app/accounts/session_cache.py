"""Verified sessions in memory, so that a request need not ask the database who is calling.

An API key is a session here, with the key's id. That is safe only while this process hears of every
session that ends. On PostgreSQL, triggers on the tables of users, sessions and API keys notify a
channel, whoever changes them. A process listens to it, and holds a lease on its memory for as long
as it hears its own heartbeat, which it sends through the pool: a listener that was cut, a link that
went silent and a pooler that swallows LISTEN look the same, and end the lease. So does a schema
without the triggers. Without the lease, and always on SQLite, each request asks the database.

PostgreSQL delivers in the order of the commits. So a heartbeat that is heard says that every end
before the time at which it was sent has been heard, too.

Whatever else is remembered of users (`app.accounts.memory`) is under the same lease. The table that
it is read from has a trigger that notifies the channel of `user:ID`.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from inspect import signature
from secrets import token_hex
from typing import Any, Literal
from uuid import UUID

import asyncpg
from sqlalchemy import TextClause, text

from app.accounts.events import SessionEnded, UserChanged
from app.accounts.memory import Absences, LeasedMemory
from app.core.database.engine import PostgresConnection
from app.core.database.events import Event
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from app.core.security.principal import Principal
from app.discovery import declared

CHANNEL = "auth_sessions"  # the migration's triggers notify it
MAX_ENTRIES = 10_000
HEARTBEAT_SECONDS = 1
LEASE_SECONDS = 5
RETRY_SECONDS = 1
CONNECT_SECONDS = 5
CLOSE_SECONDS = 1

TRIGGERS = [
    ("auth_sessions", "notify_session_ended"),
    ("auth_sessions", "notify_sessions_emptied"),
    ("users", "notify_user_changed"),
    ("users", "notify_user_deleted"),
    ("api_keys", "notify_api_key_ended"),
    ("api_keys", "notify_api_keys_emptied"),
]
logger = logging.getLogger("app.accounts")


@dataclass(frozen=True, slots=True)
class Entry:
    principal: Principal
    expires_at: float  # seconds since the epoch


class SessionCache(LeasedMemory):
    """Maps digests of tokens, cookies and API keys to their callers."""

    def __init__(self) -> None:
        super().__init__()
        self._entries = dict[bytes, Entry]()
        self._by_session = dict[UUID, set[bytes]]()
        self._by_user = dict[int, set[bytes]]()

    def size(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> Principal | None:
        entry = self._entries.get(digest)
        if entry is None or not self.is_held or entry.expires_at <= time.time():
            return None
        return entry.principal

    def put(
        self, change_count: int, digest: bytes, principal: Principal, expires_at: float
    ) -> None:
        """Remember the principal, unless any session has ended since the count.

        It may be this one, after the database was read.
        """
        if not self.may_put(change_count):
            return
        if len(self._entries) >= MAX_ENTRIES:
            self._forget(next(iter(self._entries)))  # the oldest
        self._entries[digest] = Entry(principal, expires_at)
        self._by_session.setdefault(principal.session_id, set()).add(digest)
        self._by_user.setdefault(principal.user_id, set()).add(digest)

    def forget_session(self, session_id: UUID) -> None:
        self._change_count += 1
        for digest in [*self._by_session.get(session_id, ())]:
            self._forget(digest)

    def _drop_user(self, user_id: int) -> None:
        for digest in [*self._by_user.get(user_id, ())]:
            self._forget(digest)

    def _drop_all(self) -> None:
        self._entries.clear()
        self._by_session.clear()
        self._by_user.clear()

    def _forget(self, digest: bytes) -> None:
        principal = self._entries.pop(digest).principal
        _discard(self._by_session, principal.session_id, digest)
        _discard(self._by_user, principal.user_id, digest)


def _discard(index: dict[Any, set[bytes]], key: object, digest: bytes) -> None:
    index[key].remove(digest)
    if not index[key]:
        del index[key]


def cache_key(kind: Literal["token", "cookie", "key"], secret: str) -> bytes:
    """Return the key of a secret. One of a kind never opens what is kept for the other."""
    return sha256(f"{kind}:{secret}".encode(errors="replace")).digest()


def forget_changed(cache: SessionCache, absences: Absences, events: Iterable[Event]) -> None:
    """Forget what this process has just ended or changed, before it answers."""
    for event in events:
        if isinstance(event, SessionEnded):
            cache.forget_session(event.session_id)
        elif isinstance(event, UserChanged):
            cache.forget_user(event.user_id)
            absences.forget_user(event.user_id)


def beat_query(triggers: Iterable[tuple[str, str]]) -> TextClause:
    """Return the statement that sends a heartbeat if each table has its trigger."""
    rows = [f"(to_regclass('{table}'), '{trigger}')" for table, trigger in triggers]
    return text(
        f"""
        SELECT pg_notify(:channel, :beat) WHERE {len(rows)} = (
            SELECT count(*) FROM pg_trigger
            WHERE (tgrelid, tgname) IN ({", ".join(rows)}) AND tgenabled IN ('O', 'A')
        )
        """  # noqa: S608 - constants
    )


class SessionLease:
    """Lets the memories be used while this process hears of every end and change."""

    def __init__(self, cache: SessionCache, absences: Absences, database: Database) -> None:
        self._cache = cache
        self._memories: Sequence[LeasedMemory] = (cache, absences)
        self._database = database
        self._beat_query = beat_query([*TRIGGERS, *declared("models", "NOTIFYING_TRIGGERS")])
        self._busy = asyncio.Lock()
        self._name = token_hex(8)
        self._is_reported = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._hold())

    async def close(self) -> None:
        if self._task:
            async with self._busy:  # cancelled as it opens, a connection would stay open
                self._task.cancel()
            await asyncio.wait([self._task])

    async def _hold(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  # whatever it is, the database is asked
                self._report(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with self._busy:
            listener = await asyncpg.connect(**self._options(), connection_class=PostgresConnection)
        try:
            listener.add_termination_listener(self._lapse)
            async with self._busy, asyncio.timeout(CONNECT_SECONDS):
                await listener.add_listener(CHANNEL, self._hear)
            while not listener.is_closed():
                async with self._busy:
                    await self._beat()
                await asyncio.sleep(HEARTBEAT_SECONDS)
        finally:
            self._lapse()
            with suppress(Exception):
                await listener.close(timeout=CLOSE_SECONDS)

    def _options(self) -> dict[str, Any]:
        """Return the options of the pool's connections, without those of SQLAlchemy itself.

        It runs one statement, which is not prepared: a pooler may have given its name to another.
        """
        engine = self._database.engine
        _, options = engine.dialect.create_connect_args(engine.url)
        known = signature(asyncpg.connect).parameters
        return {name: options[name] for name in options if name in known} | {
            "timeout": CONNECT_SECONDS,
            "statement_cache_size": 0,
        }

    async def _beat(self) -> None:
        """Send a heartbeat, if the triggers exist.

        The lease lapses when one does not arrive in time, for example since the pool is busy, and
        the next one renews it.
        """
        beat = f"beat:{self._name}:{time.monotonic()}"
        try:
            async with asyncio.timeout(LEASE_SECONDS), self._database.transaction() as session:
                sent = await session.execute(self._beat_query, {"channel": CHANNEL, "beat": beat})
        except (TimeoutError, Unavailable) as error:
            self._report(error)
        else:
            if sent.one_or_none() is None:
                self._report(LookupError("the schema has no triggers that notify"))

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        kind, _, id_ = str(payload).partition(":")
        if kind == "session":
            self._cache.forget_session(UUID(id_))
        elif kind == "user":
            for memory in self._memories:
                memory.forget_user(int(id_))
        elif kind == "all":
            for memory in self._memories:
                memory.forget_all()
        elif kind == "beat":
            name, _, sent_at = id_.partition(":")
            if name == self._name:
                for memory in self._memories:
                    memory.hold_until(float(sent_at) + LEASE_SECONDS)
                self._is_reported = False

    def _lapse(self, _: object = None) -> None:
        for memory in self._memories:
            memory.lapse()

    def _report(self, error: Exception) -> None:
        if not self._is_reported:
            logger.warning("Sessions are looked up in the database at each request: %r", error)
        self._is_reported = True
