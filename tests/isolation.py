"""Prepare a process of the tests before it imports the application."""

import os
from contextlib import suppress
from functools import cache
from importlib import import_module
from tempfile import TemporaryDirectory

from passlib.hash import argon2

from app.core.config import Settings

DEADLINE_SECONDS = 60  # The longest time that a test waits for anything.
ENV_FILE = Settings.model_config["env_file"]
LEAN_ROUTES = os.environ.get("TEST_LEAN_ROUTES", "true") == "true"


@cache
def _empty_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="app-tests-")


def empty_folder() -> str:
    """Return the folder in which servers run: they find no `.env` there."""
    return _empty_folder().name


def unset_settings() -> None:
    """Drop all settings from the environment, except for TEST_LEAN_ROUTES=false."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            del os.environ[name]
    if not LEAN_ROUTES:
        os.environ["LEAN_ROUTES"] = "false"


def forget_settings() -> None:
    """Drop the settings of the developer: exported variables and the `.env` file.

    The processes that a test starts inherit this environment.
    """
    unset_settings()
    empty_folder()
    os.environ["ENVIRONMENT"] = "test"
    Settings.model_config["env_file"] = None


def extend_timeouts() -> None:
    """Extend the time-outs that a busy machine may exceed."""
    # These modules must not be imported before the settings are dropped.
    from app.core.database import engine as engines
    from app.core.http import health, server
    from app.core.jobs import mail, runner
    from app.core.security import concurrency, fair_queue, rate_limit

    health.READY_SECONDS = rate_limit.REDIS_SECONDS = DEADLINE_SECONDS
    concurrency.WAIT_SECONDS = fair_queue.WAIT_SECONDS = mail.SMTP_SECONDS = DEADLINE_SECONDS
    engines.LOCK_TIMEOUT_SECONDS = engines.SQLITE_BUSY_SECONDS = DEADLINE_SECONDS
    runner.POLL_SECONDS = DEADLINE_SECONDS  # A runner in a test is notified, and does not poll.
    server.PING_SECONDS = server.HUNG_WORKER_SECONDS = DEADLINE_SECONDS


def use_cheap_hashes() -> None:
    """Hash passwords at argon2's lowest cost, a thousand times faster."""
    argon2.memory_cost, argon2.default_rounds = argon2.min_memory_cost, argon2.min_rounds


def compile_lazily() -> None:
    """Compile each template at its first use: compiling all of them takes a second."""
    with suppress(ModuleNotFoundError):  # The pages can be deleted.
        rendering = import_module("app.web.rendering")
        setattr(rendering.Templates, "compile", lambda self: None)  # noqa: B010
