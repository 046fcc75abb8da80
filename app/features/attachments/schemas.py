from datetime import datetime

from pydantic import Field

from app.core.schemas import Output
from app.core.storage.uploads import ImageStatus


class AttachmentRead(Output):
    id: int = Field(examples=[3])
    item_id: int = Field(examples=[7])
    name: str = Field(examples=["lamp.png"])
    media_type: str = Field(examples=["image/png"])
    size: int = Field(description="The size of the content in bytes.", examples=[48_213])
    sha256: str = Field(description="The SHA-256 digest of the content, in hexadecimal digits.")
    width: int | None = Field(description="The width of an image in pixels, known after a moment.")
    height: int | None
    has_thumbnail: bool
    thumbnail_status: ImageStatus = Field(
        description="The state of the thumbnail: `none` if the file is not an image, `broken` or "
        "`too_many_pixels` if there cannot be one.",
        examples=["ready"],
    )
    created_at: datetime


class AttachmentAdminRead(AttachmentRead):
    owner_id: int
