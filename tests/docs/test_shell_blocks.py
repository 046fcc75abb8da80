"""Run the shell blocks of the first pages as they are written, in a fresh copy.

A fence's info string says how: `sh` runs in one shell with the blocks before it, `sh server` runs
in the background until the end of the page, and `sh skip` is not run, because it needs Docker, a
browser or the whole suite.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.copies import copy_to
from tests.databases import ROOT
from tests.docs.markdown import blocks
from tests.server import free_port
from tests.slices import needs

# The pages of one list run in one shell.
PAGES = [["README.md"], ["docs/getting-started.md", "docs/http-api.md", "docs/graphql.md"]]
DEADLINE_SECONDS = 300
# A response with a status of 400 or more fails the block.
PROLOGUE = 'set -eu\ncurl() { command curl --fail-with-body "$@"; }\n'
IN_BACKGROUND = """
{{ {text}
}} > server.log 2>&1 &
until command curl -sf http://127.0.0.1:{port}/health/live > live.log; do
  kill -0 $! || {{ cat server.log; exit 1; }}
  sleep 0.2
done
"""


def script_of(pages: Sequence[Path], port: int) -> str:
    parts = [PROLOGUE]
    for page in pages:
        for info, text in blocks(page):
            match info:
                case ["sh"]:
                    parts.append(text)
                case ["sh", "server"]:
                    parts.append(IN_BACKGROUND.format(text=text, port=port))
                case ["sh", *others]:
                    assert others == ["skip"], f"{page.name}: ```sh {' '.join(others)}"
    return "".join(parts).replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def run(script: str, folder: Path, port: int) -> tuple[int, str]:
    """Run a script in a copy, and end its background processes."""
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        with suppress(ProcessLookupError):  # All processes have ended.
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    copy_to(folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for name in ("pyproject.toml", "requirements/dev.txt"):
        os.utime(
            folder / name, (0, 0)
        )  # They are older than .venv/installed: `make install` does nothing.
    return folder


@needs("items", "orders", "graphql")
@pytest.mark.slow("a server is started for each page")
@pytest.mark.parametrize("names", PAGES, ids=" and ".join)
def test_shell_blocks_run_as_written(copy: Path, names: Sequence[str]) -> None:
    port = free_port()
    script = script_of([copy / name for name in names], port)
    assert "make run" in script
    status, output = run(script, copy, port)
    log = copy / "server.log"
    assert status == 0, output + (log.read_text() if log.exists() else "")
