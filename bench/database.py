"""The database of a run: created, migrated, filled, and dropped at the end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import make_url

from app.accounts.models import AuthSession, User
from app.accounts.scopes import allowed_scopes
from app.core.config import Settings
from app.core.database.models import utc_now
from app.core.database.unit_of_work import Database as AppDatabase
from app.core.security.tokens import AccessTokens
from bench.errors import BenchError
from bench.process import cores, pin

BIN = Path(sys.executable).parent
SECRET_KEY = "a key that signs tokens for the time of a benchmark, and no others"
LIFETIME = timedelta(days=1)
ITEMS = """INSERT INTO items
    (name, description, price, is_offer, owner_id, created_at, updated_at, version)
    SELECT 'Item ' || n,
        'The ' || n || 'th of its kind, of brass and green glass: ' || md5(n::text),
        (n * 7919 % 100000)::numeric / 100, n % 10 = 0, ($1::bigint[])[(n - 1) % $2 + 1],
        now() + n * interval '1 ms', now() + (n * 7919 % 1000003) * interval '1 ms', 1
    FROM generate_series($3::bigint, $4) n ORDER BY n"""


@dataclass(frozen=True)
class Person:
    id: int
    session_id: UUID
    token: str


class Database:
    def __init__(self, url: str) -> None:
        self.url = url
        self.name = make_url(url).database or ""

    def execute(self, statement: str, *arguments: Any) -> None:
        self._run("execute", statement, *arguments)

    def rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._run("fetch", statement, *arguments)]

    def value(self, statement: str, *arguments: Any) -> Any:
        return self._run("fetchval", statement, *arguments)

    def _run(self, method: str, statement: str, *arguments: Any) -> Any:
        async def run() -> Any:
            connection = await asyncpg.connect(self.url.replace("+asyncpg", ""))
            try:
                return await getattr(connection, method)(statement, *arguments)
            finally:
                await connection.close()

        return asyncio.run(run())

    def pin_backends(self) -> bool:
        """Pin the database's processes to the core of the load. Return False without permission."""
        rows = self.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
            self.name,
        )
        return not [row["pid"] for row in rows if not pin(row["pid"], cores()[1])]

    def add_people(self, count: int, *, is_superuser: bool = False) -> list[Person]:
        """Create users who are signed in, with the project's own models."""
        return asyncio.run(self._add_people(count, is_superuser))

    async def _add_people(self, count: int, is_superuser: bool) -> list[Person]:
        tokens = AccessTokens(SECRET_KEY, LIFETIME)
        scopes = allowed_scopes(is_superuser)
        people = []
        app_database = AppDatabase(
            Settings(_env_file=None, environment="test", database_url=self.url)
        )
        async with app_database.transaction() as session:
            for _ in range(count):
                email = f"{uuid4().hex}@example.com"
                user = User(
                    email=email, email_key=email, password_hash="", is_superuser=is_superuser
                )
                session.add(user)
                await session.flush()
                auth_session = AuthSession(
                    user_id=user.id,
                    scope=" ".join(sorted(scopes)),
                    expires_at=utc_now() + LIFETIME,
                )
                session.add(auth_session)
                await session.flush()
                token = tokens.issue(user.id, auth_session.id, scopes)
                people.append(Person(user.id, auth_session.id, token))
        await app_database.dispose()
        return people

    def add_items(self, owners: list[Person], first: int, last: int) -> None:
        """Create items. The owner of item `n` is `owners[(n - 1) % len(owners)]`."""
        self.execute(ITEMS, [owner.id for owner in owners], len(owners), first, last)
        self.vacuum()

    def vacuum(self) -> None:
        self.execute("VACUUM (ANALYZE) items")


@contextmanager
def temporary_database(server_url: str) -> Iterator[Database]:
    server = Database(server_url)
    name = f"bench_{uuid4().hex}"
    # The same locale as in compose.yaml, for case-insensitive searches beyond ASCII.
    create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
    try:
        server.execute(create)
    except (OSError, asyncpg.PostgresError) as error:
        raise BenchError(f"BENCH_POSTGRES_URL: {error}") from error
    try:
        url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        environment = os.environ | {"ENVIRONMENT": "test", "DATABASE_URL": url}
        subprocess.run([BIN / "app", "db", "upgrade"], env=environment, check=True)
        yield Database(url)
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
