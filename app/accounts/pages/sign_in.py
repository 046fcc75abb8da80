"""The pages to sign up, in and out."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import (
    BrowserServiceDep,
    ChallengeCookieDep,
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
)
from app.core.resources import resources_of
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import current_url, page_url
from app.web.navigation import ResponseException, local_path, redirect
from app.web.rendering import render

NOTICES = {
    "signed-up": "Account created. Check your email to confirm your address.",
    "confirmed": "Email address confirmed.",
    "password-set": "Password changed. Every device is signed out.",
    "signed-out": "You are signed out.",
    "deleted": "Your account and everything in it are deleted.",
}

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
    request: Request, form: FormDep, users: UserServiceDep, client: ClientInfoDep
) -> Response:
    try:
        await users.sign_up(form.read(UserCreate), client)
    except FORM_ERRORS as error:
        form.add_error(error, {AlreadyExists: "email"})
        page = render(request, "accounts/signup.html", form=form, is_open=users.signup_enabled)
        raise ResponseException(page) from error
    next_ = form.get("next") or None
    return redirect(page_url(request, "show_login", notice="signed-up", next=next_))


@router.get("/login")
async def show_login(request: Request, visitor: Visitor) -> Response:
    form = coming_from(request)
    if visitor is not None:
        return redirect(next_page(request, form))
    return show(request, form)


@router.post("/login")
async def sign_in(
    request: Request,
    form: FormDep,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
    challenges: ChallengeCookieDep,
) -> Response:
    try:
        signed_in = await browsers.sign_in(form.read(SignIn), client, cookie.read(request))
    except SecondFactorRequired as required:
        next_ = form.get("next") or None
        response = redirect(page_url(request, "show_sign_in_code", next=next_))
        challenges.write(response, required.challenge)
        return response
    except FORM_ERRORS as error:
        form.add_error(error, {InvalidTokenRequest: "password"})
        raise ResponseException(show(request, form)) from error
    return finish_sign_in(request, form, signed_in)


@router.post("/logout")
async def sign_out(
    request: Request, browsers: BrowserServiceDep, cookie: SessionCookieDep
) -> Response:
    if value := cookie.read(request):
        await browsers.sign_out(value)
    response = redirect(page_url(request, "show_login", notice="signed-out"))
    cookie.delete(response)
    return response


async def redirect_to_sign_in(request: Request, _: NotSignedIn) -> Response:
    """Redirect a guest to the sign-in, which leads back to the page."""
    is_page = request.method in ("GET", "HEAD")
    next_ = current_url(request) if is_page else None
    return redirect(page_url(request, "show_login", next=next_))


def coming_from(request: Request) -> Form:
    """Return a form whose hidden field holds the page to show afterwards."""
    return Form({"next": request.query_params.get("next", "")})


def finish_sign_in(request: Request, form: Form, signed_in: SignedIn) -> Response:
    accounts = resources_of(request).accounts
    response = redirect(next_page(request, form))
    accounts.session_cookie.write(response, signed_in.cookie)
    accounts.device_cookie.write(response, signed_in.device)
    return response


def next_page(request: Request, form: Form) -> str:
    return local_path(form.get("next"), root_path(request.scope))


def show(request: Request, form: Form) -> Response:
    notice = NOTICES.get(request.query_params.get("notice", ""))
    return render(request, "accounts/login.html", form=form, notice=notice)
