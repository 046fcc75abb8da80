import asyncio
import time
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import delete, select, text, update

from app.accounts.models import AuthSession, User
from app.accounts.scopes import allowed_scopes
from app.accounts.service.auth import AuthService
from app.core.database.models import utc_now
from tests.conftest import (
    PASSWORD,
    SECRET_KEY,
    Person,
    client_of,
    make_person,
    make_settings,
    running,
)

URL = "/api/v1/auth/token"
ME = "/api/v1/users/me"


def form_of(person: Person, **changes: Any) -> dict[str, Any]:
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
    return form | changes


async def test_sign_in_returns_tokens(app: FastAPI, client: httpx.AsyncClient, ann: Person) -> None:
    response = await client.post(URL, data=form_of(ann))
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    token = response.json()
    assert token["token_type"] == "bearer"
    assert token["expires_in"] == 900
    assert token["scope"] == " ".join(sorted(allowed_scopes(False)))
    claims = jwt.get_unverified_claims(token["access_token"])
    assert set(claims) == {"iss", "aud", "sub", "iat", "exp", "jti", "scope", "sid", "typ"}
    assert claims["exp"] - claims["iat"] == 900
    async with client_of(app, token["access_token"]) as signed_in:
        me = (await signed_in.get(ME)).json()
    assert (me["id"], me["email"]) == (ann.id, ann.email)


async def test_sign_in_ignores_the_case_of_the_address(
    client: httpx.AsyncClient, ann: Person
) -> None:
    response = await client.post(URL, data=form_of(ann, username="ANN@Example.com"))
    assert response.status_code == 200


async def test_requested_scopes_are_granted(
    client: httpx.AsyncClient, ann: Person, root: Person
) -> None:
    async def scope_of(person: Person, scope: str) -> Any:
        return (await client.post(URL, data=form_of(person, scope=scope))).json().get("scope")

    assert await scope_of(ann, "account") == "account"
    assert await scope_of(ann, "  ") == " ".join(sorted(allowed_scopes(False)))
    assert await scope_of(root, "") == " ".join(sorted(allowed_scopes(True)))
    assert await scope_of(root, "users:admin account") == "account users:admin"


async def test_superuser_who_is_demoted_while_the_password_is_checked_gets_no_more_scopes(
    client: httpx.AsyncClient,
    ann: Person,
    root: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check, url = AuthService._check_password, f"/api/v1/users/{ann.id}"

    async def check_and_demote(self: AuthService, *given: Any) -> tuple[User, str | None]:
        checked = await check(self, *given)
        await root.client.patch(url, json={"is_superuser": False})
        return checked

    await root.client.patch(url, json={"is_superuser": True})
    monkeypatch.setattr(AuthService, "_check_password", check_and_demote)
    response = await client.post(URL, data=form_of(ann))
    assert response.json()["scope"] == " ".join(sorted(allowed_scopes(False)))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"password": "x" * 10_000}, "invalid_grant"),
        ({"scope": "x " * 10_000}, "invalid_scope"),
        ({"username": "nobody@example.com"}, "invalid_grant"),
        ({"username": "a\x00b"}, "invalid_grant"),
        ({"username": "\ud7ff" * 1000}, "invalid_grant"),
        ({"scope": "users:admin"}, "invalid_scope"),
        ({"scope": "account nonsense"}, "invalid_scope"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"password": ""}, "invalid_request"),
        ({"username": ""}, "invalid_request"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_refused_grant_returns_an_oauth_error(
    client: httpx.AsyncClient, ann: Person, changes: dict[str, Any], error: str
) -> None:
    response = await client.post(URL, data=form_of(ann, **changes))
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem = response.json()
    assert problem["error"] == error
    assert problem["error_description"]


async def test_wrong_password_and_unknown_address_get_the_same_response(
    client: httpx.AsyncClient, ann: Person
) -> None:
    wrong = (await client.post(URL, data=form_of(ann, password="wrong"))).json()
    unknown = (await client.post(URL, data=form_of(ann, username="x@example.com"))).json()
    wrong.pop("request_id"), unknown.pop("request_id")
    assert wrong == unknown


async def test_unknown_form_fields_are_ignored(client: httpx.AsyncClient, ann: Person) -> None:
    response = await client.post(URL, data=form_of(ann, client_id="x", client_secret="y"))
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["grant_type", "username", "password", "scope", "x"])
async def test_repeated_parameter_returns_400(
    client: httpx.AsyncClient, ann: Person, name: str
) -> None:
    twice = form_of(ann) | {name: ["account", "account"]}
    response = await client.post(URL, data=twice)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert name in response.json()["error_description"]


async def test_file_as_a_parameter_returns_400(client: httpx.AsyncClient, ann: Person) -> None:
    response = await client.post(URL, data=form_of(ann), files={"password": b"secret"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert response.json()["error_description"] == "password must be text, not a file."


async def test_json_body_returns_400(client: httpx.AsyncClient, ann: Person) -> None:
    response = await client.post(URL, json=form_of(ann))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_deactivated_user_cannot_sign_in_or_continue(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(User).where(User.id == ann.id).values(is_active=False))
    assert (await client.post(URL, data=form_of(ann))).json()["error"] == "invalid_grant"
    assert (await ann.client.get(ME)).status_code == 401


async def test_access_token_of_a_deleted_session_is_refused(app: FastAPI, ann: Person) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(delete(AuthSession))
    response = await ann.client.get(ME)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_outdated_hash_is_renewed_at_sign_in(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    weak = app.state.resources.passwords._context.using(argon2__memory_cost=1024)  # as of years ago
    async with app.state.resources.database.transaction() as session:
        user = await session.get_one(User, ann.id)
        user.password_hash = old = weak.hash(PASSWORD)
    assert (await client.post(URL, data=form_of(ann))).status_code == 200
    async with app.state.resources.database.reading() as session:
        assert (await session.get_one(User, ann.id)).password_hash != old
    assert (await client.post(URL, data=form_of(ann))).status_code == 200


async def test_missing_token_returns_401(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        response = await client.get(ME, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def forge(ann: Person, key: str = SECRET_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims = jwt.get_unverified_claims(ann.token) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm)


async def refused(ann: Person, token: str) -> bool:
    response = await ann.client.get(ME, headers={"Authorization": f"Bearer {token}"})
    return (response.status_code, response.headers.get("WWW-Authenticate")) == (
        401,
        'Bearer error="invalid_token"',
    )


async def test_forged_token_without_changes_is_accepted(ann: Person) -> None:
    assert not await refused(ann, forge(ann))


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("iss", "aud", "sub", "iat", "exp", "jti", "sid", "typ")),
        {"scope": None},
        {"iss": "other"},
        {"aud": "other"},
        {"aud": ["app", "other"]},
        {"typ": "refresh"},
        {"exp": 1},
        {"exp": "never"},
        {"sub": "ann"},
        {"sub": "0"},
        {"sub": "-1"},
        {"sub": "999999"},
        {"sub": "9" * 40},
        {"sid": "x"},
        {"sid": "00000000-0000-4000-8000-000000000000"},
        {"scope": ["account"]},
    ],
    ids=str,
)
async def test_token_with_a_wrong_claim_is_refused(ann: Person, changes: dict[str, Any]) -> None:
    assert await refused(ann, forge(ann, **changes))


async def test_token_of_another_key_or_algorithm_is_refused(ann: Person) -> None:
    assert await refused(ann, forge(ann, key="another key of thirty-two bytes!"))
    assert await refused(ann, forge(ann, algorithm="HS512"))
    header, body, signature = ann.token.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for token in (f"{none}.{body}.", f"{none}.{body}.{signature}", f"{header}.{body}."):
        assert await refused(ann, token)


@pytest.mark.parametrize("token", ["x", ".", "..", "a.b.c", "x" * 5000, "W1tb.W1tb.x"])
async def test_malformed_token_is_refused(ann: Person, token: str) -> None:
    assert await refused(ann, token)


async def test_token_of_nested_brackets_is_refused(ann: Person) -> None:
    """python-jose raises RecursionError on them."""
    nested = urlsafe_b64encode(b"[" * 1400).decode().rstrip("=")
    header, body, signature = ann.token.split(".")
    assert await refused(ann, f"{nested}.{body}.{signature}")
    assert await refused(ann, f"{header}.{nested}.{signature}")


async def test_expired_token_is_refused(ann: Person) -> None:
    now = int(time.time())
    assert not await refused(ann, forge(ann, exp=now + 60))
    assert await refused(ann, forge(ann, exp=now - 1))


async def test_access_token_of_an_expired_session_is_refused(app: FastAPI, ann: Person) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(AuthSession).values(expires_at=utc_now()))
    assert (await ann.client.get(ME)).status_code == 401


async def test_concurrent_sign_ins_with_an_outdated_hash_succeed(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    weak = app.state.resources.passwords._context.using(argon2__memory_cost=1024)
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(User).values(password_hash=weak.hash(PASSWORD)))
    responses = await asyncio.gather(*(client.post(URL, data=form_of(ann)) for _ in range(6)))
    assert {response.status_code for response in responses} == {200}


async def test_password_changed_during_the_sign_in_is_refused(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one was right when it was looked at; no session may come of it."""
    verify = app.state.resources.passwords.verify

    async def verify_while_it_changes(password: str, hash_: str | None) -> Any:
        result = await verify(password, hash_)
        async with app.state.resources.database.transaction() as session:
            values = {"password_hash": await app.state.resources.passwords.hash("another one")}
            await session.execute(update(User).values(values))
        return result

    monkeypatch.setattr(app.state.resources.passwords, "verify", verify_while_it_changes)
    response = await client.post(URL, data=form_of(ann))
    assert response.json()["error"] == "invalid_grant"
    async with app.state.resources.database.reading() as session:
        assert len((await session.scalars(select(AuthSession))).all()) == 1


async def test_unknown_address_costs_a_hash(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    verify = app.state.resources.passwords.verify

    async def see(password: str, hash_: str | None) -> Any:
        seen.append(hash_)
        return await verify(password, hash_)

    monkeypatch.setattr(app.state.resources.passwords, "verify", see)
    for username in ("nobody@example.com", "x" * 10_000, "\x00"):
        form = {"grant_type": "password", "username": username, "password": PASSWORD}
        assert (await client.post(URL, data=form)).status_code == 400
    assert seen == [None, None, None]


async def test_hashing_a_password_holds_no_connection(
    database_url: str, password_hash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app, client_of(app) as client:
        ann = await make_person(app, password_hash, "ann")
        passwords, database = app.state.resources.passwords, app.state.resources.database
        verify, hash_ = passwords.verify, passwords.hash

        async def with_the_whole_pool() -> None:
            for unit in (database.reading, database.transaction):
                async with unit() as session:
                    await session.execute(text("SELECT 1"))

        async def slow_verify(*arguments: Any) -> Any:
            await with_the_whole_pool()
            return await verify(*arguments)

        async def slow_hash(password: str) -> Any:
            await with_the_whole_pool()
            return await hash_(password)

        monkeypatch.setattr(passwords, "verify", slow_verify)
        monkeypatch.setattr(passwords, "hash", slow_hash)
        assert (await client.post(URL, data=form_of(ann))).status_code == 200
        account = {"email": "eve@example.com", "password": PASSWORD}
        assert (await client.post("/api/v1/users", json=account)).status_code == 201
        body = {"current_password": PASSWORD, "new_password": "another one of mine"}
        assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 204
        await ann.client.aclose()


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape"])
async def test_lone_surrogates_in_a_form_return_400(
    client: httpx.AsyncClient, charset: str
) -> None:
    value = b"+2AA-" if charset == "utf-7" else b"\\ud800"
    parts = {"grant_type": b"password", "username": value, "password": value}
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), part)
        for name, part in parts.items()
    )
    content_type = f"multipart/form-data; boundary=b; charset={charset}"
    response = await client.post(
        URL, content=body + b"--b--\r\n", headers={"Content-Type": content_type}
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_secret_key_that_looks_like_json_works(database_url: str, password_hash: str) -> None:
    key = '"a secret in quotes, 32 bytes or more"'
    async with (
        running(make_settings(database_url, secret_key=key)) as app,
        client_of(app) as client,
    ):
        ann = await make_person(app, password_hash, "ann")
        access = (await client.post(URL, data=form_of(ann))).json()["access_token"]
        headers = {"Authorization": f"Bearer {access}"}
        assert (await client.get(ME, headers=headers)).status_code == 200
        await ann.client.aclose()


async def test_token_of_the_previous_key_is_valid_after_a_rotation(
    database_url: str, password_hash: str
) -> None:
    new = "a new key of thirty-two bytes or more"
    async with running(make_settings(database_url)) as app:
        ann = await make_person(app, password_hash, "ann")
        await ann.client.aclose()
    header = jwt.get_unverified_header(ann.token)
    for previous, status in ((SECRET_KEY, 200), ("b" * 40, 401), (None, 401)):
        settings = make_settings(database_url, secret_key=new, secret_key_previous=previous)
        async with running(settings) as app, client_of(app, ann.token) as client:
            assert (await client.get(ME)).status_code == status
            token = (await client.post(URL, data=form_of(ann))).json()["access_token"]
            assert jwt.get_unverified_header(token)["kid"] != header["kid"]
            async with client_of(app, token) as renewed:
                assert (await renewed.get(ME)).status_code == 200


async def test_token_with_an_unknown_key_id_is_refused(ann: Person) -> None:
    claims = jwt.get_unverified_claims(ann.token)
    assert not await refused(ann, jwt.encode(claims, SECRET_KEY, "HS256"))
    kids: list[Any] = ["", "x", 7, None, ["x"], {}]
    for kid in kids:
        token = jwt.encode(claims, SECRET_KEY, "HS256", {"kid": kid})
        assert await refused(ann, token), kid
    name = jwt.get_unverified_header(ann.token)["kid"]
    assert await refused(ann, jwt.encode(claims, "x" * 40, "HS256", {"kid": name}))
