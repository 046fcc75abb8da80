from collections.abc import Iterator
from shutil import rmtree

import pytest

from app.core.config import Settings


@pytest.fixture(autouse=True)
def _no_files(settings: Settings) -> Iterator[None]:
    """Delete the files after the test, as the rows of the database are."""
    yield
    rmtree(settings.storage_folder, ignore_errors=True)
