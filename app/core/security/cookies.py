from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core.config import Settings


class Cookie:
    """A cookie that scripts cannot read and that requests from other sites do not carry.

    Over HTTPS its name has the prefix `__Host-`, so that other subdomains cannot set it. Browsers
    accept the prefix only with `Secure`, and `Secure` only over HTTPS. Below ROOT_PATH it is not
    sent to the other applications of the host, which takes the prefix `__Secure-` instead.
    """

    def __init__(self, name: str, max_age_seconds: int, settings: Settings) -> None:
        prefix = "__Secure-" if settings.root_path else "__Host-"
        self._name = f"{prefix}{name}" if settings.is_https else name
        self._path = settings.root_path or "/"
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
            path=self._path,
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )
