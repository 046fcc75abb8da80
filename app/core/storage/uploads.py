"""Checks of an uploaded file before it is stored.

Nothing that a client says about its file is believed: the name is cleaned, the type is found out
from the content, and the size is counted.
"""

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import PurePosixPath
from typing import BinaryIO
from unicodedata import normalize

import puremagic
from anyio import to_thread

from app.core.errors import Invalid, TooLarge
from app.core.storage.storage import CHUNK_BYTES

MAX_NAME_CHARACTERS = 255
CSV, PLAIN_TEXT = "text/csv", "text/plain"
# The suffixes of each type, the usual one first. Another suffix would let an operating system open
# a downloaded file as something that it is not.
SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/webp": (".webp",),
    "image/gif": (".gif",),
    "application/pdf": (".pdf",),
    PLAIN_TEXT: (".txt", ".log", ".md"),
    CSV: (".csv",),
}
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
BINARY_TYPES = (*IMAGES, "application/pdf")
NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# Control characters, halves of surrogate pairs, and the characters that change the direction of
# text: with these, a name seems to end in another suffix.
NOT_IN_NAMES = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


class ImageStatus(StrEnum):
    """The state of an image's processing after its upload."""

    NONE = "none"
    PENDING = "pending"
    READY = "ready"
    BROKEN = "broken"
    TOO_MANY_PIXELS = "too_many_pixels"


@dataclass(frozen=True)
class Upload:
    """A file as a client has sent it. `content` is in memory or, if it is large, on the disk."""

    name: str
    content: BinaryIO


@dataclass(frozen=True)
class FileInfo:
    """The properties of a file that was checked."""

    name: str
    media_type: str
    size: int
    sha256: str


class TextCheck:
    """Finds out chunk by chunk whether a file is text in UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def feed(self, chunk: bytes, *, is_last: bool = False) -> None:
        try:
            text = self._decoder.decode(chunk, is_last)
            self._is_text = self._is_text and not NOT_IN_TEXT.search(text)
        except UnicodeDecodeError:
            self._is_text = False

    def is_text(self) -> bool:
        self.feed(b"", is_last=True)
        return self._is_text


@dataclass(frozen=True)
class UploadRules:
    """The limits of the settings."""

    max_bytes: int
    types: Collection[str]

    @property
    def type_names(self) -> str:
        """Return the types as people call them, such as "PNG, PDF"."""
        return ", ".join(SUFFIXES[each][0][1:].upper() for each in self.types)

    async def check(self, upload: Upload) -> FileInfo:
        """Read the file and describe it. Raise Invalid, or TooLarge."""
        return await to_thread.run_sync(self._check, upload)

    def _check(self, upload: Upload) -> FileInfo:
        digest, size, head, text = sha256(), 0, b"", TextCheck()
        upload.content.seek(0)
        while chunk := upload.content.read(CHUNK_BYTES):
            head = head or chunk
            size += len(chunk)
            digest.update(chunk)
            text.feed(chunk)
        upload.content.seek(0)
        if size > self.max_bytes:
            raise TooLarge(
                "The file is too large: the limit is {limit:,} bytes.", limit=self.max_bytes
            )
        if not size:
            raise Invalid("Choose a file that is not empty.", "body", "file")
        name = upload.name
        media_type = binary_type(head) or (text_type(name) if text.is_text() else None)
        if media_type is None or media_type not in self.types:
            raise Invalid(
                "Files of this type are not accepted. Send one of these: {types}.",
                "body",
                "file",
                types=self.type_names,
            )
        return FileInfo(clean_name(name, media_type), media_type, size, digest.hexdigest())


def binary_type(head: bytes) -> str | None:
    """Return the type that the first bytes of a file show, if it is one that is known here."""
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return None
    return found[0].mime_type if found[0].mime_type in BINARY_TYPES else None


def text_type(name: str) -> str:
    """Return the type of a text. The name may decide here, since both types are harmless."""
    return CSV if name.lower().endswith(SUFFIXES[CSV]) else PLAIN_TEXT


def clean_name(name: str, media_type: str) -> str:
    """Return a name that every system can store, which ends in a suffix of the type."""
    name = NOT_IN_NAMES.sub("", re.split(r"[/\\]", name)[-1]).strip(" .")
    path, suffixes = PurePosixPath(name or "file"), SUFFIXES[media_type]
    is_usual = path.suffix.lower() in suffixes
    stem, suffix = (path.stem, path.suffix) if is_usual else (path.name, suffixes[0])
    # A character of NFC comes from at most four.
    stem = normalize("NFC", stem[: 4 * MAX_NAME_CHARACTERS])
    return stem[: MAX_NAME_CHARACTERS - len(suffix)] + suffix
