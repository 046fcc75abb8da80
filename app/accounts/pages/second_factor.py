"""The pages on which a user sets up, renews and switches off the second factor."""

import segno
from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from app.accounts.dependencies import Member, SecondFactorServiceDep
from app.accounts.pages.confirm import require_confirmation
from app.accounts.schemas import RecoveryCodes, SecondFactorEnable, SecondFactorProof
from app.accounts.schemas import SecondFactorSetUp as SetUp
from app.core.errors import Conflict, Forbidden, Invalid, SecondFactorMissing, WrongCode
from app.core.security.principal import Principal
from app.core.translation import mark
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, ErrorFields, Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException, redirect
from app.web.rendering import render

ERRORS: ErrorFields = {Forbidden: "current_password", WrongCode: "code"}

router = APIRouter(prefix="/account/second-factor")


def require_second_factor(request: Request, principal: Principal) -> None:
    """Lead a superuser who lacks the required second factor to this page."""
    if not principal.lacks_second_factor:
        return
    if request.method in ("GET", "HEAD"):
        text = mark("Superusers need a second factor here. Set it up to go on.")
        raise ResponseException(flash(request, page_url(request, "show_second_factor"), text))
    raise SecondFactorMissing


@router.get("")
async def show_second_factor(
    request: Request, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    return await show(request, principal, second_factors, Form())


@router.get("/set-up")
async def show_set_up(
    request: Request, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    try:
        set_up = await second_factors.begin_confirmed(principal)
    except Conflict:  # it was set up in another window
        return redirect(page_url(request, "show_second_factor"))
    except Forbidden as error:  # the address is not confirmed
        return flash(request, page_url(request, "show_second_factor"), error.text)
    return render_set_up(request, set_up, Form())


@router.post("/set-up")
async def enable_second_factor(
    request: Request, form: FormDep, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    """Show the recovery codes, instead of a redirect to a page that would have to know them."""
    await require_confirmation(request, principal, by_factor=True)
    try:
        data = form.read(SecondFactorEnable)
        return show_codes(request, await second_factors.enable(principal, data))
    except Invalid:
        text = mark("The set-up has expired. Scan the new code.")
        return flash(request, page_url(request, "show_set_up"), text)
    except Conflict:  # it was set up in another window
        return redirect(page_url(request, "show_second_factor"))
    except FORM_ERRORS as error:
        form.add_error(error, ERRORS)
        set_up = await second_factors.resume(principal, form.get("token"))
        raise ResponseException(render_set_up(request, set_up, form)) from error


@router.post("/recovery-codes")
async def renew_recovery_codes(
    request: Request, form: FormDep, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    try:
        data = form.read(SecondFactorProof)
        return show_codes(request, await second_factors.renew_recovery_codes(principal, data))
    except FORM_ERRORS as error:
        form.add_error(error, ERRORS)
        page = await show(request, principal, second_factors, form)
        raise ResponseException(page) from error


@router.post("/disable")
async def disable_second_factor(
    request: Request, form: FormDep, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    try:
        await second_factors.disable(principal, form.read(SecondFactorProof))
    except FORM_ERRORS as error:
        form.add_error(error, ERRORS)
        page = await show(request, principal, second_factors, form)
        raise ResponseException(page) from error
    text = mark("The second factor is switched off.")
    return flash(request, page_url(request, "show_second_factor"), text)


async def show(
    request: Request, principal: Principal, second_factors: SecondFactorServiceDep, form: Form
) -> Response:
    form.values.pop("code", None)  # It may have been used.
    state = await second_factors.get(principal)
    return render(request, "accounts/second_factor.html", form=form, state=state)


def render_set_up(request: Request, set_up: SetUp, form: Form) -> Response:
    form.values.pop("code", None)
    return render(
        request,
        "accounts/second_factor_set_up.html",
        form=form,
        set_up=set_up,
        qr_code=qr_code(set_up.uri),
    )


def show_codes(request: Request, codes: RecoveryCodes) -> Response:
    return render(request, "accounts/recovery_codes.html", codes=codes.recovery_codes)


def qr_code(text: str) -> Markup:
    """Return an SVG element, without inline styles: the policy of pages forbids them."""
    code = segno.make_qr(text)
    svg = code.svg_inline(omitsize=True, light="#fff", svgclass=None, lineclass=None)
    return Markup(svg)  # noqa: S704 - it has nothing but a path
