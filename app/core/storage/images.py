"""Thumbnails of images."""

import logging
from io import BytesIO
from typing import NamedTuple

from anyio import CapacityLimiter, to_thread
from PIL import Image, ImageOps

from app.core.storage.uploads import ImageStatus

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_PIXELS = 50_000_000
THUMBNAIL_SIZE = (320, 320)
THUMBNAIL_TYPE = "image/webp"
# One at a time: a decoded image takes four bytes for each pixel.
decoding = CapacityLimiter(1)
logger = logging.getLogger("app.storage")


class UnusableImage(Exception):
    """An image of which no thumbnail can be made."""

    def __init__(self, status: ImageStatus) -> None:
        super().__init__(status)
        self.status = status


class Thumbnail(NamedTuple):
    """A small copy of an image, and the size of the image itself in pixels."""

    content: bytes
    width: int
    height: int


async def make_thumbnail(content: bytes) -> Thumbnail:
    """Return a thumbnail, made in a thread. Raise UnusableImage."""
    return await to_thread.run_sync(_make_thumbnail, content, limiter=decoding)


def _make_thumbnail(content: bytes) -> Thumbnail:
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:  # Nothing is decoded before this.
                raise UnusableImage(ImageStatus.TOO_MANY_PIXELS)
            image.thumbnail(THUMBNAIL_SIZE)
            ImageOps.exif_transpose(image, in_place=True)  # Cameras store how they were held.
            mode = "RGBA" if image.has_transparency_data else "RGB"
            thumbnail = BytesIO()
            image.convert(mode).save(thumbnail, "WEBP")
            return Thumbnail(thumbnail.getvalue(), width, height)
    except UnusableImage:
        raise
    except Exception as error:  # the decoders raise errors of many kinds
        logger.info("An image cannot be decoded: %r", error)
        raise UnusableImage(ImageStatus.BROKEN) from error
