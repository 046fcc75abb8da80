from collections.abc import Sequence

from fastapi import Request, Response

from app.core.errors import Conflict
from app.core.http.files import FILE_RESPONSES, send_file
from app.core.http.problem_kinds import problem_response
from app.core.http.routing import ApiRouter
from app.core.http.uploads import UPLOAD_BODY, UploadDep
from app.core.resources import ResourcesDep
from app.features.attachments.dependencies import ReadAttachments, WriteAttachments
from app.features.attachments.schemas import AttachmentRead

FULL = problem_response(Conflict, "The item or its owner has as many attachments as are allowed")

router = ApiRouter(prefix="/items/{item_id}/attachments", tags=["attachments"])


# Without an Idempotency-Key: to recognize a retry, the body would have to be read as a whole. A
# retry attaches the file once more, which `sha256` shows.
@router.post("", status_code=201, openapi_extra=UPLOAD_BODY, responses=FULL)
async def create_attachment(
    item_id: int, attachments: WriteAttachments, upload: UploadDep
) -> AttachmentRead:
    """Attach a file to an item. Its type is found out from its content."""
    return await attachments.create(item_id, upload)


@router.get("")
async def list_attachments(item_id: int, attachments: ReadAttachments) -> Sequence[AttachmentRead]:
    """List the attachments of an item, oldest first."""
    return await attachments.list(item_id)


@router.get("/{attachment_id}")
async def read_attachment(
    item_id: int, attachment_id: int, attachments: ReadAttachments
) -> AttachmentRead:
    """Get what is known of an attachment."""
    return await attachments.get(item_id, attachment_id)


@router.get("/{attachment_id}/file", response_class=Response, responses=FILE_RESPONSES)
async def read_attachment_file(
    item_id: int,
    attachment_id: int,
    attachments: ReadAttachments,
    request: Request,
    resources: ResourcesDep,
) -> Response:
    """Download the file, or the part of it that `Range` asks for."""
    file = await attachments.file(item_id, attachment_id)
    return await send_file(request, resources.storage, file)


@router.get("/{attachment_id}/thumbnail", response_class=Response, responses=FILE_RESPONSES)
async def read_attachment_thumbnail(
    item_id: int,
    attachment_id: int,
    attachments: ReadAttachments,
    request: Request,
    resources: ResourcesDep,
) -> Response:
    """Download the thumbnail of an image. There is none for a moment after the upload."""
    file = await attachments.thumbnail(item_id, attachment_id)
    return await send_file(request, resources.storage, file)


@router.delete("/{attachment_id}", status_code=204, response_class=Response)
async def delete_attachment(
    item_id: int, attachment_id: int, attachments: WriteAttachments
) -> None:
    """Delete an attachment and its file."""
    await attachments.delete(item_id, attachment_id)
