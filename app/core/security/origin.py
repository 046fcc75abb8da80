"""The origin of a request, by which pages of other sites are refused."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from app.core.config import Settings


def is_same_origin(scope: Scope, settings: Settings) -> bool:
    """Return whether a page of this site has sent the request.

    Browsers say so in Sec-Fetch-Site, which scripts cannot set. Over plain HTTP, on hosts other
    than localhost, they send only Origin.
    """
    headers = Headers(scope=scope)
    if site := headers.get("sec-fetch-site"):
        # A page whose address is a secret sends no referrer, and "null" for its origin.
        is_hidden = headers.get("origin", "null") == "null"
        return site == "same-origin" and (
            is_hidden or not settings.is_https or has_own_origin(scope, settings)
        )
    return has_own_origin(scope, settings)


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
