from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.storage.folder import LocalFolder
from app.core.storage.storage import Storage
from app.resources import build_storage
from tests.server import http_client

BUCKET = "files"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Yield the URL of a server that is compatible with S3 and has a bucket."""
    from moto.server import ThreadedMotoServer  # Other processes start faster without it.

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Its first answer takes seconds: the server imports the service then.
    with http_client(f"http://{host}:{port}") as client:
        client.put(f"/{BUCKET}").raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


def s3_settings(endpoint: str) -> Settings:
    return Settings(
        s3_bucket=BUCKET, s3_endpoint=endpoint, s3_access_key_id="id", s3_secret_access_key="secret"
    )


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow("it starts S3"))])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalFolder(tmp_path / "files")
    return build_storage(s3_settings(request.getfixturevalue("s3_endpoint")))
