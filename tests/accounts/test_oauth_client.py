"""A client library that knows nothing of this project, against a real server."""

import httpx
from authlib.integrations.httpx_client import OAuth2Client

from tests.server import sign_up

PASSWORD = "correct horse battery"


def test_authlib_client_fetches_refreshes_and_revokes_tokens(server: httpx.Client) -> None:
    sign_up(server)
    api = f"{server.base_url}/api/v1".replace("//api", "/api")
    client = OAuth2Client(token_endpoint=f"{api}/auth/token", scope="account")
    token = client.fetch_token(username="ann@example.com", password=PASSWORD)
    assert token["scope"] == "account"
    assert client.get(f"{api}/users/me").json()["email"] == "ann@example.com"

    client.token["expires_at"] = 1  # as if its time were over
    assert client.get(f"{api}/users/me").status_code == 200
    assert client.token["refresh_token"] != token["refresh_token"]
    assert client.token["access_token"] != token["access_token"]

    current = client.token["refresh_token"]
    response = client.revoke_token(f"{api}/auth/revoke", token=current)
    assert response.status_code == 200
    assert client.get(f"{api}/users/me").status_code == 401
    client.close()
