"""The pages to sign up, in and out."""

from fastapi import APIRouter, Request
from starlette.datastructures import URL
from starlette.responses import RedirectResponse, Response

from app.accounts.dependencies import (
    BrowserServiceDep,
    ClientInfoDep,
    SessionCookieDep,
    UserServiceDep,
    Visitor,
)
from app.accounts.schemas import SignIn, UserCreate
from app.accounts.service.browser import SignedIn
from app.core.context import root_path
from app.core.errors import (
    AlreadyExists,
    Forbidden,
    InvalidTokenRequest,
    NotSignedIn,
    SecondFactorRequired,
    Unavailable,
)
from app.core.resources import resources_of
from app.core.translation import gettext, mark
from app.web.error_pages import wants_page
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, KEPT, RESUME, Form, FormDep, get_form, serialize_form
from app.web.links import current_url, page_url
from app.web.navigation import ResponseException, local_path, redirect
from app.web.parts import page_parts
from app.web.rendering import render

CHECK_EMAIL = mark("Account created. Check your email to confirm your address.")

SESSION_ENDED = mark("Your session has ended. Sign in, and your form is shown again.")

router = APIRouter()


@router.get("/signup")
async def show_signup(request: Request, visitor: Visitor, users: UserServiceDep) -> Response:
    form = coming_from(request)
    if visitor is not None:
        return redirect(next_page(request, form))
    if not users.signup_enabled:
        form.add_error(Forbidden("Sign-up is closed."))
    return render(request, "accounts/signup.html", form=form, is_open=users.signup_enabled)


@router.post("/signup")
async def sign_up(
    request: Request,
    form: FormDep,
    users: UserServiceDep,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
) -> Response:
    """Create an account and sign in, unless the address has to be confirmed before."""
    try:
        data = form.read(UserCreate)
        await users.sign_up(data, client)
    except FORM_ERRORS as error:
        form.add_error(error, {AlreadyExists: "email"})
        page = render(request, "accounts/signup.html", form=form, is_open=users.signup_enabled)
        raise ResponseException(page) from error
    try:
        credentials = SignIn(email=data.email, password=data.password)
        signed_in = await browsers.sign_in(credentials, client, cookie.read(request))
    except (*FORM_ERRORS, Unavailable):
        # REQUIRE_VERIFIED_EMAIL is set, or too many sign in at the moment. The account is there.
        login = page_url(request, "show_login", next=form.get("next") or None)
        return flash(request, login, CHECK_EMAIL)
    response = flash(request, next_page(request, form), mark("Account created."))
    resources_of(request).accounts.write_cookies(response, signed_in)
    return response


@router.get("/login")
async def show_login(request: Request, visitor: Visitor) -> Response:
    form = coming_from(request)
    if visitor is not None:
        return redirect(next_page(request, form))
    return await show(request, form)


@router.post("/login")
async def sign_in(
    request: Request,
    form: FormDep,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
) -> Response:
    try:
        signed_in = await browsers.sign_in(form.read(SignIn), client, cookie.read(request))
    except SecondFactorRequired as required:
        return await ask_for_code(request, form, required)
    except FORM_ERRORS as error:
        form.add_error(error, {InvalidTokenRequest: "password"})
        raise ResponseException(await show(request, form)) from error
    return finish_sign_in(request, form, signed_in)


@router.post("/logout")
async def sign_out(
    request: Request, browsers: BrowserServiceDep, cookie: SessionCookieDep
) -> Response:
    if value := cookie.read(request):
        await browsers.sign_out(value)
    response = flash(request, page_url(request, "show_login"), mark("You are signed out."))
    cookie.delete(response)
    return response


async def redirect_to_sign_in(request: Request, _: NotSignedIn) -> Response:
    """Redirect a guest to the sign-in, which leads back to the page.

    A form that is sent when the session has ended is kept, and shown again after the sign-in.
    """
    if request.method in ("GET", "HEAD"):
        return redirect(page_url(request, "show_login", next=current_url(request)))
    # A guest's upload is not read: it may be large.
    is_kept = wants_page(request.scope) and not request.scope.get("is_upload")
    sent = await get_form(request) if is_kept else Form()
    if not sent.owner:
        return redirect(page_url(request, "show_login"))
    form = Form({"next": current_url(request), KEPT: serialize_form(sent)})
    form.status, form.alert = 401, gettext(SESSION_ENDED)
    return await show(request, form)


async def ask_for_code(request: Request, form: Form, required: SecondFactorRequired) -> Response:
    """Lead to the page that asks for the second factor, by a cookie with the challenge."""
    if form.get(KEPT):
        kept = Form({name: form.get(name) for name in ("next", KEPT)})
        response = await show_code_page(request, kept)
    else:
        next_ = form.get("next") or None
        response = redirect(page_url(request, "show_sign_in_code", next=next_))
    resources_of(request).accounts.challenge_cookie.write(response, required.challenge)
    return response


async def show_code_page(request: Request, form: Form) -> Response:
    parts = await page_parts(request, "second factor")
    return render(request, "accounts/sign_in_code.html", form=form, parts=parts)


def resume(request: Request, form: Form) -> Response:
    """Send the kept form to its page, which shows it: a browser repeats what it sent for a 307."""
    page = URL(next_page(request, form)).include_query_params(**{RESUME: "true"})
    return RedirectResponse(str(page), 307)


def coming_from(request: Request) -> Form:
    """Return a form whose hidden field holds the page to show afterwards."""
    return Form({"next": request.query_params.get("next", "")})


def finish_sign_in(request: Request, form: Form, signed_in: SignedIn) -> Response:
    response = resume(request, form) if form.get(KEPT) else redirect(next_page(request, form))
    resources_of(request).accounts.write_cookies(response, signed_in)
    return response


def next_page(request: Request, form: Form) -> str:
    return local_path(form.get("next"), root_path(request.scope))


async def show(request: Request, form: Form) -> Response:
    parts = await page_parts(request, "sign-in")
    return render(request, "accounts/login.html", form=form, parts=parts)
