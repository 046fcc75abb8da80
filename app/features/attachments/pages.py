"""The page of an item's attachments, which the pages of the item link to."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.core.http.files import send_file
from app.core.http.uploads import UploadDep
from app.core.resources import ResourcesDep
from app.core.translation import mark
from app.features.attachments.dependencies import MemberAttachments
from app.features.attachments.service import AttachmentService
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form
from app.web.links import page_url
from app.web.navigation import RecordLink, ResponseException
from app.web.rendering import render

RECORD_LINKS = [
    RecordLink(
        "item",
        mark("Attachments"),
        "show_attachments",
        on_delete=mark("Attachments are deleted too."),
    )
]

router = APIRouter(prefix="/items/{item_id:int}/attachments", include_in_schema=False)


@router.get("")
async def show_attachments(
    request: Request, item_id: int, attachments: MemberAttachments
) -> Response:
    return await show_list(request, item_id, attachments, Form())


@router.post("")
async def upload_attachment(
    request: Request, item_id: int, attachments: MemberAttachments, upload: UploadDep
) -> Response:
    try:
        created = await attachments.create(item_id, upload)
    except FORM_ERRORS as error:
        form = Form()
        form.add_error(error)
        page = await show_list(request, item_id, attachments, form)
        raise ResponseException(page) from error
    url = page_url(request, "show_attachments", item_id=item_id)
    return flash(request, url, mark("“{name}” uploaded."), name=created.name)


@router.get("/{attachment_id:int}/file")
async def download_attachment(
    request: Request,
    item_id: int,
    attachment_id: int,
    attachments: MemberAttachments,
    resources: ResourcesDep,
) -> Response:
    file = await attachments.file(item_id, attachment_id)
    return await send_file(request, resources.storage, file)


@router.get("/{attachment_id:int}/thumbnail")
async def show_thumbnail(
    request: Request,
    item_id: int,
    attachment_id: int,
    attachments: MemberAttachments,
    resources: ResourcesDep,
) -> Response:
    file = await attachments.thumbnail(item_id, attachment_id)
    return await send_file(request, resources.storage, file)


@router.get("/{attachment_id:int}/delete")
async def show_delete_attachment(
    request: Request, item_id: int, attachment_id: int, attachments: MemberAttachments
) -> Response:
    attachment = await attachments.get(item_id, attachment_id)
    return render(request, "attachments/delete.html", attachment=attachment)


@router.post("/{attachment_id:int}/delete")
async def delete_attachment(
    request: Request, item_id: int, attachment_id: int, attachments: MemberAttachments
) -> Response:
    await attachments.delete(item_id, attachment_id)
    url = page_url(request, "show_attachments", item_id=item_id)
    return flash(request, url, mark("Attachment deleted."))


async def show_list(
    request: Request, item_id: int, attachments: AttachmentService, form: Form
) -> Response:
    return render(
        request,
        "attachments/list.html",
        form=form,
        item=await attachments.item(item_id),
        attachments=await attachments.list(item_id),
        rules=attachments.rules,
    )
