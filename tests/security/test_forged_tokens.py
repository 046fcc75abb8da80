"""Forged, changed and stolen tokens, where the API, a WebSocket and a page take one."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jose import jwt

from app.core.security.keys import derive_key
from tests.conftest import PASSWORD, SECRET_KEY, Person, browser_of
from tests.sockets import connecting

ME = "/api/v1/users/me"
OTHER_KEY = "another key of thirty-two bytes!"
REMOVED = object()


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).decode().rstrip("=")


def signed(
    header: object, claims: object, key: bytes | str = SECRET_KEY, hash_: str = "sha256"
) -> str:
    """Return a token with any header and claims, which libraries would not write."""
    text = f"{encoded(header)}.{encoded(claims)}"
    secret = key.encode() if isinstance(key, str) else key
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), hash_))}"


class Forger:
    """Makes variants of a token that is valid."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.header: dict[str, Any] = jwt.get_unverified_header(token)
        self.claims: dict[str, Any] = jwt.get_unverified_claims(token)

    def variants(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each variant and the token, none of which is valid."""
        yield from self.other_algorithms()
        yield from self.other_keys()
        yield from self.other_headers()
        yield from self.other_claims()
        yield from self.changed_texts()

    def other_algorithms(self) -> Iterator[tuple[str, str]]:
        _, body, signature = self.token.split(".")
        for name in (
            "none",
            "None",
            "NONE",
            "nOnE",
            "",
            "HS256 ",
            "hs256",
            "HS1",
            None,
            0,
            ["HS256"],
        ):
            head = encoded(self.header | {"alg": name})
            yield f"algorithm {name!r} without a signature", f"{head}.{body}."
            yield f"algorithm {name!r} with the old signature", f"{head}.{body}.{signature}"
        for name, hash_ in (("HS384", "sha384"), ("HS512", "sha512"), ("HS256", "sha512")):
            forged = signed(self.header | {"alg": name}, self.claims, hash_=hash_)
            yield f"{name} signed with {hash_}", forged
        private = generate_private_key(65537, 2048)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for name in ("RS256", "RS512"):
            yield name, jwt.encode(self.claims, pem, name, {"kid": self.header["kid"]})
        for name in ("RS256", "ES256", "PS256", "EdDSA", "A256KW", "dir"):
            yield f"{name} signed as HS256", signed(self.header | {"alg": name}, self.claims)

    def other_keys(self) -> Iterator[tuple[str, str]]:
        keys: list[str | bytes] = [
            *("", OTHER_KEY, "secret", "changeme", SECRET_KEY[:-1], SECRET_KEY + "\n"),
            *(SECRET_KEY.upper(), SECRET_KEY[::-1], self.header["kid"], ME, "null", "undefined"),
            *(derive_key(SECRET_KEY, use) for use in ("email token", "key id", "security events")),
        ]
        for key in keys:
            yield f"key {key!r}", signed(self.header, self.claims, key)
        without = {name: value for name, value in self.header.items() if name != "kid"}
        yield "another key, and no key id", signed(without, self.claims, OTHER_KEY)

    def other_headers(self) -> Iterator[tuple[str, str]]:
        kids: list[object] = [
            *("", "x", "../../../../dev/null", "/dev/null", "' OR '1'='1", "a' UNION SELECT 'x"),
            *("0", 0, 7, None, True, [], {}, ["x"], "x" * 2000, self.header["kid"] + "\x00"),
        ]
        for kid in kids:
            yield f"key id {str(kid)[:30]!r}", signed(self.header | {"kid": kid}, self.claims)
        own = {"kty": "oct", "k": encoded(OTHER_KEY.encode()), "alg": "HS256"}
        for name, value in (
            *(("jwk", own), ("jku", "https://evil.example/keys"), ("x5c", ["MIIB"])),
            *(("x5u", "https://evil.example/key.pem"), ("crit", ["exp"])),
        ):
            forged = signed(self.header | {name: value}, self.claims, OTHER_KEY)
            yield f"{name} of the attacker", forged
        heads: list[object] = [[], "x", 7, None, True, {}]
        for other in heads:
            yield f"header {other!r}", signed(other, self.claims)

    def other_claims(self) -> Iterator[tuple[str, str]]:
        now = int(time.time())
        wrong: dict[str, list[object]] = {
            "iss": ["other", "", "APP", ["app"], None, 1],
            "aud": ["other", "", [], ["app", "other"], None],
            "sub": ["0", "-1", "1.5", "ann", "", "9" * 40, None, ["1"], {"id": 1}, "999999"],
            "sid": ["x", "", None, 7, str(uuid4()), "00000000-0000-0000-0000-000000000000"],
            "typ": ["refresh", "", None, "ACCESS", ["access"]],
            "exp": [0, 1, -1, now - 1, now - 0.5, "never", None, "", [], True],
            "iat": ["x", None, []],
            "nbf": [now + 3600],
            "jti": ["x", None, 7],
            "scope": [None, 7, ["account"], {}],
        }
        for name, values in wrong.items():
            for value in values:
                forged = signed(self.header, self.claims | {name: value})
                yield f"claim {name} {str(value)[:30]!r}", forged
            others = {each: value for each, value in self.claims.items() if each != name}
            if name in self.claims:
                yield f"without the claim {name}", signed(self.header, others)
        documents: list[object] = [[], "x", 7, None, {}, [self.claims]]
        for claims in documents:
            yield f"claims {str(claims)[:30]!r}", signed(self.header, claims)

    def changed_texts(self) -> Iterator[tuple[str, str]]:
        head, body, signature = self.token.split(".")
        more = encoded(self.claims | {"scope": "users:admin items:all", "sub": "1"})
        yield "claims changed, with the old signature", f"{head}.{more}.{signature}"
        for end in (1, 2, 5, len(signature) // 2, len(signature)):
            yield f"signature without its last {end}", self.token[:-end]
        first = "A" if signature[0] != "A" else "B"
        yield "first character of the signature changed", f"{head}.{body}.{first}{signature[1:]}"
        yield "signature repeated", f"{self.token}{signature}"
        yield "parts in another order", f"{body}.{head}.{signature}"
        yield "two parts", f"{head}.{body}"
        yield "four parts", f"{self.token}.{signature}"
        yield "five parts, as of an encrypted token", f"{self.token}.{body}.{signature}"
        yield "one part", head
        for text in (
            ".",
            "..",
            "...",
            "a.b.c",
            "null",
            "undefined",
            "Bearer",
            "x" * 5000,
            "[]",
            "{}",
        ):
            yield f"text {text[:20]!r}", text
        nested = encoded(b"[" * 1400)
        yield "nested header", f"{nested}.{body}.{signature}"
        yield "nested claims", f"{head}.{nested}.{signature}"
        for part in (b"\xff\xfe", b"\x00", b'{"alg":"HS256","alg":"none"}', b""):
            yield f"header {part[:20]!r}", f"{encoded(part)}.{body}.{signature}"
            yield f"claims {part[:20]!r}", f"{head}.{encoded(part)}.{signature}"
        for text in (self.token[:-1] + "%00", self.token.replace(".", "%2e")):
            yield f"text ...{text[-8:]!r}", text


@pytest.fixture
async def forged(app: FastAPI, ann: Person) -> dict[str, str]:
    """Return variants of a valid token, and other secrets of the user."""
    forger = Forger(ann.token)
    variants = dict(forger.variants())
    assert ann.token not in variants.values()
    assert len(set(variants.values())) == len(variants)
    assert await status_of(ann.client, signed(forger.header, forger.claims)) == 200
    form = {"grant_type": "password", "username": ann.email, "password": PASSWORD}
    tokens = (await ann.client.post("/api/v1/auth/token", data=form)).json()
    variants["refresh token"] = tokens["refresh_token"]
    variants["password"] = PASSWORD.replace(" ", "")
    variants["session id"] = forger.claims["sid"]
    async with browser_of(app) as browser:
        await browser.post("/login", data={"email": ann.email, "password": PASSWORD})
        variants |= {f"cookie {each.name}": each.value or "" for each in browser.cookies.jar}
    return variants


async def status_of(client: httpx.AsyncClient, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return (await client.get(ME, headers=headers)).status_code


async def test_forged_token_is_refused_by_the_api(
    app: FastAPI, client: httpx.AsyncClient, forged: dict[str, str], attempts: Counter[str]
) -> None:
    for name, token in forged.items():
        headers = {"Authorization": f"Bearer {token}"}
        response = await client.get(ME, headers=headers)
        assert response.status_code == 401, name
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"', name
        assert response.json()["type"] == "/problems/unauthenticated", name
        attempts["forged tokens, to the API"] += 1
    assert len(forged) >= 110


async def test_forged_token_is_refused_by_every_socket(
    app: FastAPI, forged: dict[str, str], attempts: Counter[str]
) -> None:
    paths = [
        route.path or ""
        for route in iter_route_contexts(app.routes)
        if route.original_route.__class__.__name__.endswith("WebSocketRoute")
    ]
    for path in paths:
        for name, token in forged.items():
            for options in (
                {"headers": {"Authorization": f"Bearer {token}"}},
                {"subprotocols": ("bearer", token)},
            ):
                async with connecting(app, path=path, **options) as socket:
                    answer = await socket.next()
                assert answer["type"] == "websocket.http.response.start", name
                assert answer["status"] == 401, name
                attempts["forged tokens, to WebSockets"] += 1


async def test_forged_token_opens_no_page(
    app: FastAPI, ann: Person, forged: dict[str, str], attempts: Counter[str]
) -> None:
    """A page takes the cookie alone, and an access token is none."""
    tokens = {name: token for name, token in forged.items() if name != "cookie auth_session"}
    async with browser_of(app) as browser:
        for name, token in ({"valid": ann.token} | tokens).items():
            value = token.encode("ascii", "replace").decode().replace(";", "")
            for headers in (
                {"Cookie": f"auth_session={value}"},
                {"Authorization": f"Bearer {token}"},
            ):
                response = await browser.get("/account", headers=headers)
                assert response.status_code in (303, 404), name  # 404 without pages
                attempts["forged tokens, to pages"] += 1
