"""What a process of the tests needs before it imports the application."""

import os
from functools import cache
from tempfile import TemporaryDirectory

from passlib.hash import argon2

from app.core.config import Settings

DEADLINE_SECONDS = 60  # Whatever a test waits for happens within this time.
ENV_FILE = Settings.model_config["env_file"]
LEAN_ROUTES = os.environ.get("TEST_LEAN_ROUTES", "true") == "true"


@cache
def _empty_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="app-tests-")


def empty_folder() -> str:
    """Return the folder in which servers run: they find no `.env` there."""
    return _empty_folder().name


def unset_settings() -> None:
    """Drop all settings from the environment. TEST_LEAN_ROUTES=false alone becomes one."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            del os.environ[name]
    if not LEAN_ROUTES:
        os.environ["LEAN_ROUTES"] = "false"


def forget_settings() -> None:
    """Drop the settings of whoever runs the tests: exported variables and the `.env` file.

    The processes that a test starts inherit this environment.
    """
    unset_settings()
    empty_folder()
    os.environ["ENVIRONMENT"] = "test"
    Settings.model_config["env_file"] = None


def be_patient() -> None:
    """Let whatever a busy machine has to wait for come late."""
    # Only now that the settings are forgotten.
    from app.core.database import engine as engines
    from app.core.http import health, server
    from app.core.jobs import mail, runner
    from app.core.security import concurrency, fair_queue, rate_limit

    health.READY_SECONDS = rate_limit.REDIS_SECONDS = DEADLINE_SECONDS
    concurrency.WAIT_SECONDS = fair_queue.WAIT_SECONDS = mail.SMTP_SECONDS = DEADLINE_SECONDS
    engines.LOCK_TIMEOUT_SECONDS = engines.SQLITE_BUSY_SECONDS = DEADLINE_SECONDS
    runner.POLL_SECONDS = DEADLINE_SECONDS  # a runner of a test is told, and looks at nothing else
    server.PING_SECONDS = DEADLINE_SECONDS


def hash_cheaply() -> None:
    """Hash passwords at argon2's lowest cost, which is a thousand times as fast."""
    argon2.memory_cost, argon2.default_rounds = argon2.min_memory_cost, argon2.min_rounds


def compile_lazily() -> None:
    """Compile a template when it is first asked for: to compile all takes a server a second."""
    from app.web.admin_site.site import Admin
    from app.web.rendering import Templates

    for templates in (Admin, Templates):
        setattr(templates, "compile", lambda self: None)  # noqa: B010
