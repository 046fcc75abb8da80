"""The page of the lab on a real server."""

import os
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import PASSWORD, only
from tests.databases import ROOT
from tests.isolation import DEADLINE_SECONDS, empty_folder
from tests.server import GRACE_PERIOD_EXCEEDED, serving

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@only("sqlite")  # test_page.py tests the cleanup on PostgreSQL.
@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.slow("it starts a server for each step")
def test_stopped_server_ends_the_run_and_the_streams(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server would wait 20 s for a stream that does not end."""
    local = {"ENVIRONMENT": "local", "FIRST_SUPERUSER_EMAIL": "root@example.com"}
    local |= {"FIRST_SUPERUSER_PASSWORD": PASSWORD, "TMPDIR": str(tmp_path)}
    with ExitStack() as streams, serving(database_url, **local) as client:
        assert client.post("/lab/block_loop", headers=SAME_ORIGIN).status_code == 303
        assert client.post("/lab/run", headers=SAME_ORIGIN).status_code == 303
        other = streams.enter_context(
            httpx.Client(base_url=client.base_url, timeout=DEADLINE_SECONDS)
        )
        for path in ("/lab/run/news", "/lab/run/vitals"):
            response = streams.enter_context(other.stream("GET", path))
            lines = response.iter_lines()
            if path == "/lab/run/news":
                next(line for line in lines if "(1 of 12)" in line)  # The server has started.
    log = "".join(capfd.readouterr())
    path = os.path.relpath(ROOT / "app/features/lab/pages/waits.py", empty_folder())
    assert f"ms by POST /lab/block_loop, at {path}:" in log
    assert "in block_loop: time.sleep(SECONDS)" in log
    assert GRACE_PERIOD_EXCEEDED not in log
    assert "Traceback" not in log
