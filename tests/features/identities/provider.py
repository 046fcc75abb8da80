"""An OpenID provider on Authlib's server, which the tests run in a thread.

It checks what a real one checks: the client's secret, the redirect URI, PKCE, and that a code is
used once. A test can have it answer wrongly.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeGrant, AuthorizationCodeMixin, ClientMixin
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "shop", "the secret of the shop"
Claims = dict[str, Any]


class Client(ClientMixin):  # type: ignore[misc]  # It has no types.
    """The registration of this site."""

    def __init__(self, redirect_uri: str) -> None:
        self._redirect_uri = redirect_uri

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self._redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):  # type: ignore[misc]  # It has no types.
    code: str
    redirect_uri: str
    scope: str
    nonce: str
    user: Claims
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())


@dataclass
class Provider:
    """The provider's address, the user who is signed in there, and what it does wrong."""

    url: str = ""
    redirect_uri: str = ""
    key: RSAKey = field(default_factory=lambda: new_key("first"))
    user: Claims = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    metadata: Claims = field(default_factory=dict)
    """What its discovery document says besides the usual."""
    status: int = 200
    """The status of all its answers, if it is not 200."""
    change_claims: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    """What makes the ID token, in place of a signature with the key."""
    has_email_in_token: bool = True

    def reset(self) -> None:
        fresh = Provider(self.url, self.redirect_uri, self.key)
        self.__dict__.update(fresh.__dict__)

    def token(self, claims: Claims) -> str:
        header = {"alg": "RS256", "kid": self.key.kid}
        return jwt.encode(header, claims, self.key)


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def build(provider: Provider) -> Flask:
    app = Flask("provider")

    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]  # It has no types.
        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            provider.codes[code] = Code(
                code,
                request.payload.redirect_uri,
                request.payload.scope,
                data["nonce"],
                dict(provider.user),
                data["code_challenge"],
                data["code_challenge_method"],
            )

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            provider.codes.pop(authorization_code.code)

        def authenticate_user(self, authorization_code: Code) -> Claims:
            return authorization_code.user

    class IdToken(OpenIDCode):  # type: ignore[misc]  # It has no types.
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in provider.codes.values())

        def generate_user_info(self, user: Claims, scope: str) -> UserInfo:
            return UserInfo(user)

        def process_token(self, grant: Any, response: tuple[int, Claims, Any]) -> Any:
            _, token, headers = response
            code = grant.request.authorization_code
            names = None if provider.has_email_in_token else {"sub"}
            user = {k: v for k, v in code.user.items() if names is None or k in names}
            now = int(time.time())
            claims = {
                "iss": provider.url,
                "aud": CLIENT_ID,
                "iat": now,
                "exp": now + 300,
                "auth_time": now,
                "nonce": code.nonce,
                **user,
            }
            make = provider.sign or provider.token
            token["id_token"] = make(provider.change_claims(claims))
            return 200, token, headers

    server = AuthorizationServer(
        app,
        query_client=lambda id_: Client(provider.redirect_uri) if id_ == CLIENT_ID else None,
        save_token=lambda token, request: None,
    )
    server.register_grant(Grant, [IdToken(require_nonce=True), CodeChallenge(required=True)])

    @app.before_request
    def note() -> Response | None:
        provider.requests.append(request.path)
        return None if provider.status == 200 else Response(status=provider.status)

    @app.get("/.well-known/openid-configuration")
    def discover() -> Response:
        document = {
            "issuer": provider.url,
            "authorization_endpoint": f"{provider.url}/authorize",
            "token_endpoint": f"{provider.url}/token",
            "jwks_uri": f"{provider.url}/keys",
            "userinfo_endpoint": f"{provider.url}/userinfo",
        }
        return jsonify(document | provider.metadata)

    @app.get("/keys")
    def keys() -> Response:
        return jsonify({"keys": [provider.key.as_dict(private=False)]})

    @app.get("/authorize")
    def authorize() -> Any:
        """Grant at once: the user is signed in here."""
        grant = server.get_consent_grant(end_user=provider.user)
        return server.create_authorization_response(grant=grant, grant_user=provider.user)

    @app.post("/token")
    def issue() -> Any:
        return server.create_token_response()

    @app.get("/userinfo")
    def user_info() -> Response:
        return jsonify(provider.user)

    return app


@contextmanager
def serving_provider() -> Iterator[Provider]:
    provider = Provider()
    server = make_server("127.0.0.1", 0, build(provider), threaded=True)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
