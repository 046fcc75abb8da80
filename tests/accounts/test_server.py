"""Sessions against a real server with two workers: what one has ended, the other knows."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.accounts.service.auth import MAX_SUCCESSORS
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.server import sign_up

TOKEN = "/api/v1/auth/token"
ME = "/api/v1/users/me"
PASSWORD = "correct horse battery"


@pytest.fixture
def client(two_workers: httpx.Client) -> httpx.Client:
    sign_up(two_workers)
    return two_workers


def post(client: httpx.Client, **form: Any) -> httpx.Response:
    """Request a token on a new connection."""
    return httpx.post(
        client.base_url.join(TOKEN), data=form, timeout=DEADLINE_SECONDS, verify=False
    )


def sign_in(client: httpx.Client) -> dict[str, str]:
    form = {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD}
    token: dict[str, str] = post(client, **form).json()
    return token


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return post(client, grant_type="refresh_token", refresh_token=token)


def works(client: httpx.Client, access_token: str) -> bool:
    url = client.base_url.join(ME)
    headers = {"Authorization": f"Bearer {access_token}"}
    # Several connections, so that both workers are asked.
    statuses = {
        httpx.get(url, headers=headers, timeout=DEADLINE_SECONDS, verify=False).status_code
        for _ in range(4)
    }
    assert statuses in ({200}, {401})
    return statuses == {200}


def test_concurrent_refreshes_get_a_few_successors_and_keep_the_session(
    client: httpx.Client,
) -> None:
    token = sign_in(client)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: refresh(client, token["refresh_token"]), range(16)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: MAX_SUCCESSORS, 400: 16 - MAX_SUCCESSORS}
    tokens = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert all(works(client, token) for token in tokens)


def test_reused_refresh_token_ends_the_session_in_every_worker(
    client: httpx.Client, databases: Databases, server_database_url: str
) -> None:
    token = sign_in(client)
    successor = refresh(client, token["refresh_token"]).json()
    assert works(client, successor["access_token"])
    over = "UPDATE refresh_tokens SET used_at = '2026-01-01 00:00:00' WHERE used_at IS NOT NULL"
    databases.execute(server_database_url, over)  # as if the grace were over
    assert refresh(client, token["refresh_token"]).json()["error"] == "invalid_grant"
    assert not works(client, successor["access_token"])
    assert refresh(client, successor["refresh_token"]).status_code == 400


def test_ended_session_is_refused_by_every_worker(client: httpx.Client) -> None:
    revoked, other = sign_in(client), sign_in(client)
    client.post("/api/v1/auth/revoke", data={"token": revoked["refresh_token"]})
    assert not works(client, revoked["access_token"])
    assert works(client, other["access_token"])
    body = {"current_password": PASSWORD, "new_password": "a better horse battery"}
    assert client.post(f"{ME}/password", json=body).status_code == 204
    assert not works(client, other["access_token"])
    assert client.get(ME).status_code == 200
