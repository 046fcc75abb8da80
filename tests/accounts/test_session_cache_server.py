"""A session that ends in one server process is refused by another that has it in memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import httpx
import pytest

from app.accounts.scopes import key_scopes
from tests.accounts.session_cache import LOOK_UP_SECONDS
from tests.conftest import PASSWORD, SERVER_SETTINGS, only
from tests.databases import Databases, connect
from tests.isolation import DEADLINE_SECONDS
from tests.server import serving, sign_up
from tests.slices import needs
from tests.waiting import eventually

ME = "/api/v1/users/me"
USERS = "/api/v1/users"  # for superusers alone
CUT_LISTENERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE query LIKE 'LISTEN%' AND datname = current_database()
"""
pytestmark = only("postgresql")


@dataclass
class Ending:
    """Ann, who is a superuser, has two sessions. The one that ends is known to the other server."""

    client: httpx.Client
    token: str
    root: httpx.Client
    ann: httpx.Client
    ann_url: str


def sign_out(ending: Ending) -> httpx.Response:
    return ending.client.post("/api/v1/auth/revoke", data={"token": ending.token})


def change_password(ending: Ending) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": "a better horse battery"}
    return ending.ann.post(f"{ME}/password", json=body)


def deactivate(ending: Ending) -> httpx.Response:
    return ending.root.patch(ending.ann_url, json={"is_active": False})


def demote(ending: Ending) -> httpx.Response:
    return ending.root.patch(ending.ann_url, json={"is_superuser": False})


def delete_account(ending: Ending) -> httpx.Response:
    return ending.ann.request("DELETE", ME, json={"current_password": PASSWORD})


End = Callable[[Ending], httpx.Response]
ENDS = [
    pytest.param(sign_out, 401, id="sign-out"),
    pytest.param(change_password, 401, id="new password"),
    pytest.param(deactivate, 401, id="deactivation"),
    pytest.param(demote, 401, id="demotion"),
    pytest.param(delete_account, 401, id="deletion"),
]


def client_of(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=DEADLINE_SECONDS, verify=False)


def sign_in(client: httpx.Client, name: str) -> str:
    form = {"grant_type": "password", "username": f"{name}@example.com", "password": PASSWORD}
    token: str = client.post("/api/v1/auth/token", data=form).json()["access_token"]
    return token


@contextmanager
def without_look_ups(database_url: str) -> Iterator[None]:
    """Let no request read a session or a key from the database meanwhile: it waits."""
    with connect(database_url) as connection:
        connection.execute("LOCK TABLE auth_sessions, api_keys")
        yield


def cut_listeners(database_url: str) -> None:
    with connect(database_url) as connection:
        assert connection.execute(CUT_LISTENERS).fetchall()


@pytest.fixture(scope="module")
def other_server_url(shared_server_database_url: str) -> Iterator[str]:
    """Start a second server beside the one that many tests share."""
    with serving(shared_server_database_url, **SERVER_SETTINGS) as client:
        yield str(client.base_url)


@pytest.fixture(scope="module")
def milliseconds() -> Iterator[list[float]]:
    """Measure the time from the response of one process to the refusal by the other."""
    measured = list[float]()
    yield measured
    if measured:
        print(f"refused {median(measured):.1f} ms after the answer, median of {len(measured)}")


@pytest.fixture
def ending(
    server: httpx.Client, databases: Databases, server_database_url: str
) -> Iterator[Ending]:
    sign_up(server, "root")
    sign_up(server, "ann")
    ann_id = server.get(ME).json()["id"]
    databases.execute(server_database_url, "UPDATE users SET is_superuser = true")
    url, token = str(server.base_url), sign_in(server, "ann")
    with (
        client_of(url, sign_in(server, "root")) as root,
        client_of(url, sign_in(server, "ann")) as ann,
        httpx.Client(base_url=url, timeout=DEADLINE_SECONDS, verify=False) as client,
    ):
        yield Ending(client, token, root, ann, f"{USERS}/{ann_id}")


@pytest.fixture
def other(
    ending: Ending, other_server_url: str, server_database_url: str
) -> Iterator[httpx.Client]:
    """Return a client of the other server, which answers it from its memory."""
    with client_of(other_server_url, ending.token) as client:
        eventually(lambda: is_remembered(client, USERS, server_database_url))
        yield client


def is_remembered(client: httpx.Client, path: str, database_url: str) -> bool:
    assert client.get(path).status_code == 200
    with without_look_ups(database_url):
        try:
            return client.get(path, timeout=LOOK_UP_SECONDS).status_code == 200
        except httpx.TimeoutException:
            return False


def measure_refusal(
    end: End, ending: Ending, other: httpx.Client, status: int, milliseconds: list[float]
) -> None:
    assert end(ending).is_success
    started = time.perf_counter()
    while (answer := other.get(USERS).status_code) == 200:
        assert time.perf_counter() - started < DEADLINE_SECONDS, "the session is not refused"
    milliseconds.append(1000 * (time.perf_counter() - started))
    assert answer == status
    print(f"{end.__name__} was refused {milliseconds[-1]:.1f} ms after its answer")


@pytest.mark.parametrize(("end", "status"), ENDS)
def test_session_that_ended_in_one_process_is_refused_by_another(
    ending: Ending, other: httpx.Client, end: End, status: int, milliseconds: list[float]
) -> None:
    measure_refusal(end, ending, other, status, milliseconds)


@pytest.mark.parametrize(("end", "status"), ENDS)
def test_session_that_ended_is_refused_by_another_process_whose_listener_was_cut(
    ending: Ending,
    other: httpx.Client,
    server_database_url: str,
    end: End,
    status: int,
    milliseconds: list[float],
) -> None:
    cut_listeners(server_database_url)
    measure_refusal(end, ending, other, status, milliseconds)


@needs("items")
def test_key_that_was_revoked_in_one_process_is_refused_by_another(
    ending: Ending, other_server_url: str, server_database_url: str
) -> None:
    url = f"{ME}/api-keys"
    body = {"name": "Import", "scopes": [*key_scopes(False)], "current_password": PASSWORD}
    created = ending.ann.post(url, json=body).json()
    with client_of(other_server_url, created["key"]) as client:
        eventually(lambda: is_remembered(client, ME, server_database_url))
        assert ending.ann.delete(f"{url}/{created['id']}").status_code == 204
        eventually(lambda: client.get(ME).status_code == 401)
