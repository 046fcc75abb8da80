import pytest
from fastapi import Request

from app.core.resources import NOT_STARTED, resources_of
from app.main import create_app
from tests.conftest import make_settings, only

pytestmark = only("sqlite")


def test_server_that_does_not_start_the_application_is_told_so(database_url: str) -> None:
    request = Request({"type": "http", "app": create_app(make_settings(database_url))})
    with pytest.raises(RuntimeError, match=NOT_STARTED):
        resources_of(request)
