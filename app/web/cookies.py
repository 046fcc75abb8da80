from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core.config import Settings


class Cookie:
    """A secret that only this server reads: no script, and no request that another site makes.

    `__Host-` keeps other names of the domain from setting it. Browsers take that prefix with
    `Secure` only, and `Secure` over HTTPS only.
    """

    def __init__(self, name: str, max_age_seconds: int, settings: Settings) -> None:
        self._name = f"__Host-{name}" if settings.is_https else name
        self._max_age = max_age_seconds
        self._is_secure = settings.is_https

    def read(self, connection: HTTPConnection) -> str | None:
        return connection.cookies.get(self._name)

    def write(self, response: Response, value: str) -> None:
        self._set(response, value, self._max_age)

    def delete(self, response: Response) -> None:
        self._set(response, "", 0)

    def _set(self, response: Response, value: str, max_age: int) -> None:
        response.set_cookie(
            self._name,
            value,
            max_age=max_age,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )
