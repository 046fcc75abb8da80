"""Requests that are generated from the OpenAPI document, valid and invalid.

`make fuzz` generates more of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PASSWORD
from tests.databases import Databases
from tests.server import serving

EMAIL = "root@example.com"
CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES = os.environ.get("FUZZ_CASES", "10")


@pytest.mark.slow("starts schemathesis")
def test_generated_requests_get_documented_responses(
    databases: Databases, template_url: str, tmp_path: Path
) -> None:
    url = databases.create(template_url)
    superuser = {"FIRST_SUPERUSER_EMAIL": EMAIL, "FIRST_SUPERUSER_PASSWORD": PASSWORD}
    with serving(url, **superuser) as client:
        form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
        token = client.post("/api/v1/auth/token", data=form).json()["access_token"]
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(CONFIG), "run", f"{client.base_url}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}", "--max-examples", CASES),
                *("--continue-on-failure", "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    databases.drop(url)
    assert run.returncode == 0, run.stdout + run.stderr
