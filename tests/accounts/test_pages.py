import re

import httpx

from tests.accounts.conftest import Outbox
from tests.accounts.test_emails import NEW
from tests.conftest import PASSWORD, Person


async def test_the_link_of_a_mail_confirms_the_address(
    client: httpx.AsyncClient, outbox: Outbox
) -> None:
    await client.post("/api/v1/users", json={"email": "eve@example.com", "password": PASSWORD})
    token = await outbox.token("eve@example.com", "verify")
    for _ in range(2):  # a mail program that looks at it uses nothing up
        shown = await client.get("/verify-email", params={"token": token})
        assert shown.status_code == 200
        assert token in shown.text
        assert shown.headers["Cache-Control"] == "no-store"
    done = await client.post("/verify-email", data={"token": token})
    assert (done.status_code, "confirmed" in done.text) == (200, True)
    again = await client.post("/verify-email", data={"token": token})
    assert (again.status_code, "does not hold" in again.text) == (422, True)


async def test_the_link_of_a_mail_sets_a_password(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    assert (await client.get("/forgot-password")).status_code == 200
    assert (await client.post("/forgot-password", data={"email": "ann"})).status_code == 422
    known = await client.post("/forgot-password", data={"email": ann.email})
    unknown = await client.post("/forgot-password", data={"email": "nobody@example.com"})
    assert (known.status_code, known.text) == (200, unknown.text)
    token = await outbox.token(ann.email, "reset")
    form = {"token": token, "password": "short"}
    refused = await client.post("/reset-password", data=form)
    assert (refused.status_code, token in refused.text) == (422, True)
    done = await client.post("/reset-password", data=form | {"password": NEW})
    assert done.status_code == 200
    assert (await ann.client.get("/api/v1/users/me")).status_code == 401
    assert (await client.post("/reset-password", data=form)).status_code == 422


async def test_what_is_in_the_link_is_text(client: httpx.AsyncClient) -> None:
    for path in ("/verify-email", "/reset-password"):
        page = await client.get(path, params={"token": '"><script>alert(1)</script>'})
        assert not re.search("<script", page.text)
        assert (await client.get(path)).status_code == 200
        assert (await client.post(path, data={})).status_code == 422
