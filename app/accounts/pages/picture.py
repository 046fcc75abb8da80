"""The picture of an account, which the account page has a form for."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import Member, PictureServiceDep
from app.accounts.pages.account import AccountPageDep
from app.core.http.files import send_file
from app.core.http.uploads import UploadDep
from app.core.resources import ResourcesDep
from app.core.translation import mark
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form
from app.web.links import page_url
from app.web.navigation import ResponseException

router = APIRouter(prefix="/account/picture")


@router.get("")
async def show_picture(
    request: Request, principal: Member, pictures: PictureServiceDep, resources: ResourcesDep
) -> Response:
    return await send_file(request, resources.storage, await pictures.get(principal))


@router.post("")
async def upload_picture(
    request: Request,
    principal: Member,
    page: AccountPageDep,
    pictures: PictureServiceDep,
    upload: UploadDep,
) -> Response:
    try:
        await pictures.upload(principal, upload)
    except FORM_ERRORS as error:
        form = Form()
        form.add_error(error)
        raise ResponseException(await page.show("picture", form)) from error
    url = page_url(request, "show_account")
    return flash(request, url, mark("Picture uploaded. It appears in a moment."))


@router.post("/remove")
async def remove_picture(
    request: Request, principal: Member, pictures: PictureServiceDep
) -> Response:
    await pictures.remove(principal)
    return flash(request, page_url(request, "show_account"), mark("Picture removed."))
