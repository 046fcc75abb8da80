"""Sends the requests of webhooks.

A receiver gets a connection of its own for each request, within limits of time and size. Redirects
are not followed, and no proxy of the environment is used.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore2
from anyio import to_thread

from app.core.translation import mark
from app.features.webhooks.service.addresses import AddressRules, ForbiddenAddress, UnknownHost

CONNECT_SECONDS = 5
BODY_SECONDS = 5
TOTAL_SECONDS = 15
MAX_RESPONSE_BYTES = 8192
MAX_RECEIVED_BYTES = 65_536  # with the head, and interim responses (1xx) before it
PIECE_BYTES = 4096  # The event loop goes on between two pieces.
GONE = 410
NOT_PUBLIC = mark("The address is not public.")
UNKNOWN_HOST = mark("The host has no address.")
NOT_CONNECTED = mark("No connection, or none with a valid certificate.")
TIMED_OUT = mark("No response in time.")
NO_RESPONSE = mark("The connection ended without a response.")


@dataclass(frozen=True)
class Outcome:
    """The status of the response, or else the reason why there is none."""

    status: int | None = None
    error: str | None = None
    duration_ms: int | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookClient:
    def __init__(self, rules: AddressRules) -> None:
        self._backend = CheckedBackend(rules)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a request. It fails with an outcome, and never with an exception."""
        started = time.perf_counter()
        status, error = await self._post(url, headers, body)
        return Outcome(status, error, round((time.perf_counter() - started) * 1000))

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, str | None]:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await self._status(url, headers, body), None
        except ForbiddenAddress:
            return None, NOT_PUBLIC
        except UnknownHost:
            return None, UNKNOWN_HOST
        except (TimeoutError, httpcore2.TimeoutException):
            return None, TIMED_OUT
        except (httpcore2.ConnectError, ssl.SSLError):
            return None, NOT_CONNECTED
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
            return None, NO_RESPONSE

    async def _status(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        context = await to_thread.run_sync(tls_context)
        fields = dict(headers) | {"Content-Length": str(len(body)), "Connection": "close"}
        async with (
            httpcore2.AsyncConnectionPool(
                context, max_connections=1, network_backend=self._backend
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=[(name.encode(), value.encode()) for name, value in fields.items()],
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            ) as response,
        ):
            with suppress(httpcore2.NetworkError, httpcore2.ProtocolError, TimeoutError):
                await skip_body(response)
            return response.status


async def skip_body(response: httpcore2.Response) -> None:
    """Read a short body, since to close the connection before its end may look like a failure."""
    length = 0
    async with asyncio.timeout(BODY_SECONDS):
        async for chunk in response.aiter_stream():
            length += len(chunk)
            if length > MAX_RESPONSE_BYTES:
                return


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to an address that was checked.

    The certificate is verified for the name of the URL, which the header field `Host` has as well.
    """

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # It overrides the method of the library.
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            *others, last = await self._rules.addresses_of(host)
            for address in others:
                with suppress(httpcore2.ConnectError):
                    return BoundedStream(await self._backend.connect_tcp(str(address), port))
            return BoundedStream(await self._backend.connect_tcp(str(last), port))


class BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection of which no more is read than a receiver has reason to send.

    Without the bound, interim responses that never end would keep the event loop busy.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MAX_RECEIVED_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # It overrides the method of the library.
        if self._left <= 0:
            raise httpcore2.ReadError("the response is too large")
        received = await self._stream.read(min(max_bytes, PIECE_BYTES), timeout)
        self._left -= len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # It overrides the method of the library.
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # It overrides the method of the library.
    ) -> httpcore2.AsyncNetworkStream:
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()  # It reads files.
