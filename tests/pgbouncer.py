"""Run PgBouncer in front of a test's database, with a pool of a few connections."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port
from tests.waiting import eventually

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH')}:/usr/sbin")
POOL_SIZE = 3
# `server_round_robin` gives each transaction the least recently used connection.
CONFIGURATION = """
[databases]
* = {target}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
min_pool_size = {pool_size}
server_round_robin = 1
max_client_conn = 200
"""


@contextmanager
def pooling(database_url: str, folder: Path) -> Iterator[str]:
    """Yield the database's URL behind PgBouncer, in transaction mode."""
    url, port = make_url(database_url), free_port()
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(
            target=_target(url.host, url.port, url.username, url.password),
            port=port,
            pool_size=POOL_SIZE,
        )
    )
    command = [PGBOUNCER or "", "--quiet", str(file)]
    if os.geteuid() == 0:  # PgBouncer refuses to run as root.
        command.insert(1, "--user=nobody")
    process = subprocess.Popen(command)
    try:
        eventually(lambda: process.poll() is not None or _is_listening(port))
        assert process.poll() is None, "PgBouncer has stopped"
        pooled = url.set(host="127.0.0.1", port=port)
        yield pooled.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_SECONDS)


def _target(host: str | None, port: int | None, user: str | None, password: str | None) -> str:
    options = {"host": host, "port": port or 5432, "user": user, "password": password}
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in options.items() if value)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
