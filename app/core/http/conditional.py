"""Conditional requests (RFC 9110, section 13), with a record's version as its entity tag.

The entity tags of a request are parsed into versions. A tag that is not a version matches nothing.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request

from app.core.database.repository import MAX_VERSIONS, Versions
from app.core.errors import Invalid, TooManyTags
from app.core.http.openapi import header_fields
from app.core.resources import resources_of

# What proxies that compress add to a tag: Apache "3-gzip", Caddy "3-zstd". nginx makes it weak.
ENCODED = re.compile(r"-(gzip|br|zstd|deflate)$")
# Matches one element of a list. An element may be empty, and a tag may contain commas.
ELEMENT = re.compile(r'[ \t]*(?:(?P<weak>W/)?"(?P<tag>[^"\x00-\x20\x7f]*)")?[ \t]*(?:,|$)')
VERSION = re.compile(r"[1-9][0-9]{0,17}")  # fits into 64 bits
# For the OpenAPI document.
TAGS = {"pattern": r'^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$'}


class VersionedRecord(Protocol):
    @property
    def version(self) -> Any: ...  # Any, since a model's version is typed as Mapped[int].


async def if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Change the record only if its version is one of these.",
            examples=['"1"'],
            json_schema_extra=TAGS,
        ),
    ] = None,
) -> Versions:
    """Return the versions of If-Match, or None if any will do.

    Weak tags are ignored: the comparison is strong (RFC 9110, section 13.1.1),
    unless ACCEPT_WEAK_ETAGS is set.
    """
    if "If-None-Match" in request.headers:
        raise Invalid(
            "If-None-Match is for reading. Send If-Match with a change.", "header", "If-None-Match"
        )
    if if_match is None or if_match.strip() == "*":
        return None
    tags = list(_parse("If-Match", if_match))
    if resources_of(request).settings.accept_weak_etags:
        return frozenset(version for _, version in tags)
    request.scope["has_weak_tag"] = any(weak for weak, _ in tags)
    return frozenset(version for weak, version in tags if not weak)


async def if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description="The versions that the client already has.",
            examples=['"1"'],
            json_schema_extra=TAGS,
        ),
    ] = None,
) -> Versions:
    """Return the versions that the client has, and note them for `has_version`."""
    known: Versions = frozenset()
    if if_none_match is not None:
        is_any = if_none_match.strip() == "*"
        known = None if is_any else frozenset(n for _, n in _parse("If-None-Match", if_none_match))
    request.scope["known_versions"] = known
    return known


IfMatch = Annotated[Versions, Depends(if_match)]
IfNoneMatch = Annotated[Versions, Depends(if_none_match)]


def has_version(request: Request, record: VersionedRecord) -> bool:
    """Return whether the client already has this version of the record."""
    known: Versions = request.scope.get("known_versions", frozenset())
    return known is None or record.version in known


def tag_of(record: VersionedRecord) -> str:
    return f'"{record.version}"'


def _parse(header: str, value: str) -> Iterator[tuple[bool, int]]:
    """Yield for each version whether its tag is weak, and the version."""
    position = count = 0
    while position < len(value):
        count += 1
        if count > MAX_VERSIONS:
            raise TooManyTags(f"{header} accepts at most {MAX_VERSIONS} entity tags.")
        element = ELEMENT.match(value, position)
        if element is None:
            raise Invalid('Send entity tags such as "1", or *.', "header", header)
        tag = ENCODED.sub("", element["tag"] or "")
        if VERSION.fullmatch(tag):
            yield element["weak"] is not None or tag != element["tag"], int(tag)
        position = element.end()


# For a route's `responses`.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {
        "description": "The client has this version already",
        "headers": header_fields("ETag"),
    }
}
