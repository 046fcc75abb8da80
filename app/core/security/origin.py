"""The origin of a request, by which pages of other sites are refused."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from app.core.config import Settings


def has_own_origin(scope: Scope, settings: Settings) -> bool:
    """Return whether the Origin header names this site: PUBLIC_URL, or without https the Host.

    WebSockets need this check as well: a page of any site can open one, with this site's cookies.
    """
    headers, public = Headers(scope=scope), urlsplit(settings.public_url)
    origins = {f"{public.scheme}://{public.netloc.lower()}"}
    if not settings.is_https:
        scheme = scope["scheme"].replace("ws", "http")
        origins.add(f"{scheme}://{headers.get('host', '').lower()}")
    return headers.get("origin") in origins
