"""The second page of a sign-in, which asks for a code of the second factor."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import (
    BrowserServiceDep,
    ChallengeCookieDep,
    ClientInfoDep,
    SessionCookieDep,
)
from app.accounts.pages.sign_in import coming_from, finish_sign_in, show_code_page
from app.accounts.schemas import SecondFactorSignIn
from app.core.errors import InvalidTokenRequest
from app.web.forms import FORM_ERRORS, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException, redirect

router = APIRouter(prefix="/login/code")


@router.get("")
async def show_sign_in_code(request: Request, challenge_cookie: ChallengeCookieDep) -> Response:
    if challenge_cookie.read(request) is None:
        return redirect(page_url(request, "show_login"))
    return await show_code_page(request, coming_from(request))


@router.post("")
async def sign_in_with_code(
    request: Request,
    form: FormDep,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
    challenge_cookie: ChallengeCookieDep,
) -> Response:
    try:
        data = form.read(SecondFactorSignIn, challenge=challenge_cookie.read(request) or "")
        signed_in = await browsers.complete_sign_in(data, client, cookie.read(request))
    except FORM_ERRORS as error:
        form.add_error(error, {InvalidTokenRequest: "code"})
        form.values.pop("code", None)
        raise ResponseException(await show_code_page(request, form)) from error
    response = finish_sign_in(request, form, signed_in)
    challenge_cookie.delete(response)
    return response
