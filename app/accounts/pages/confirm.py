"""The page that asks for the password again, before sensitive account actions."""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.accounts.dependencies import ConfirmationServiceDep, Member, SessionCookieDep
from app.accounts.schemas import CodeConfirmation, PasswordConfirmation
from app.core.context import root_path
from app.core.errors import FactorRequired, Forbidden, PasswordRequired, WrongCode
from app.core.resources import resources_of
from app.core.security.cookies import Cookie
from app.core.security.principal import Principal
from app.web.error_pages import wants_page
from app.web.forms import FORM_ERRORS, Form, FormDep, get_form, hidden_fields
from app.web.links import current_url, page_url
from app.web.navigation import ResponseException, local_path, redirect
from app.web.parts import page_parts
from app.web.rendering import render

NEXT, REPEATS, CODE = "confirm_next", "confirm_repeats", "confirm_code"
FACTOR = "confirm_factor"  # the password is not enough

router = APIRouter()


async def require_confirmation(
    request: Request, principal: Principal, *, by_factor: bool = False
) -> None:
    """Ask for the password, unless the user has entered it recently, and come back afterwards.

    A form that was sent is sent again then, without its passwords and its code. A second factor
    stands for the password. With `by_factor`, a user who has one has to use it.
    """
    confirmations = resources_of(request).accounts.confirmations
    takes_factor = by_factor and await confirmations.lacks_factor(principal)
    if not takes_factor and await confirmations.is_recent(principal):
        return
    back, asks = current_url(request), {"factor": "true"} if takes_factor else {}
    if request.method in ("GET", "HEAD") and wants_page(request.scope):
        raise ResponseException(redirect(page_url(request, "show_confirm", next=back, **asks)))
    if request.method != "POST" or not wants_page(request.scope):
        if takes_factor:
            raise FactorRequired
        raise PasswordRequired("Enter your password on the page /confirm, then try again.")
    form = await get_form(request)
    form.values |= {NEXT: back, REPEATS: "true", FACTOR: asks.get("factor", "")}
    raise ResponseException(await show(request, principal, form, status=403))


@router.get("/confirm")
async def show_confirm(request: Request, principal: Member) -> Response:
    asked = {NEXT: "next", FACTOR: "factor"}
    values = {name: request.query_params.get(given, "") for name, given in asked.items()}
    return await show(request, principal, Form(values))


@router.post("/confirm")
async def confirm(
    request: Request,
    form: FormDep,
    principal: Member,
    confirmations: ConfirmationServiceDep,
    cookie: SessionCookieDep,
) -> Response:
    form.unconfirmed = ""  # The page that the form is sent to again asks whose it is.
    try:
        if form.get(CODE):
            code = form.read(CodeConfirmation).confirm_code
            value = await confirmations.confirm_by_code(principal, code)
        else:
            password = form.read(PasswordConfirmation).current_password
            value = await confirmations.confirm(principal, password)
    except FORM_ERRORS as error:
        form.add_error(error, {Forbidden: "current_password", WrongCode: CODE})
        raise ResponseException(await show(request, principal, form)) from error
    return finish_confirmation(request, form, cookie, value)


def finish_confirmation(request: Request, form: Form, cookie: Cookie, value: str) -> Response:
    """Lead back to the page that asked, with a new cookie."""
    back = local_path(form.get(NEXT), root_path(request.scope))
    # A browser sends the form again to the address of a 307, and opens that of a 303.
    response = RedirectResponse(back, 307) if form.get(REPEATS) else redirect(back)
    cookie.write(response, value)
    return response


async def show(request: Request, principal: Principal, form: Form, status: int = 200) -> Response:
    form.values.pop(CODE, None)
    accounts = resources_of(request).accounts
    user = await accounts.users.get(principal.user_id)
    has_factor = await accounts.second_factors.is_enabled(principal)
    takes_factor = has_factor and bool(form.get(FACTOR))
    request.state.takes_factor = takes_factor  # for the parts
    kept = {name: value for name, value in form.values.items() if not is_secret(name)}
    if form.get(REPEATS):
        kept |= hidden_fields(form)
    return render(
        request,
        "accounts/confirm.html",
        form=form,
        kept=kept,
        has_password=user.has_password,
        has_second_factor=has_factor,
        takes_factor=takes_factor,
        parts=await page_parts(request, "confirmation"),
        status=status,
    )


def is_secret(name: str) -> bool:
    return "password" in name or name == "code"
