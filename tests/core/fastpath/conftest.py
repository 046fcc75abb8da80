import pytest

from tests.isolation import LEAN_ROUTES


@pytest.fixture(autouse=True)
def _fast_path_is_on() -> None:
    if not LEAN_ROUTES:
        pytest.skip("TEST_LEAN_ROUTES=false switches the fast path off")
