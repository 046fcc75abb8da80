"""Describes the machine and the software of a result."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.contenders import ROOT
from bench.database import Database

PACKAGES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "sqlalchemy", "asyncpg",
)  # fmt: skip


def describe(database: Database) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "revision": revision(),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": database.value("SHOW server_version"),
        "fsync": database.value("SHOW fsync"),
        "synchronous_commit": database.value("SHOW synchronous_commit"),
    }


def packages() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def revision() -> str:
    """Return the Git revision, with "+" if files have changed, or "unknown" without Git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", "app", "bench/*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.check_output(
        ["git", *arguments], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    ).strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()
