"""The pages that mails link to. GET only shows a button: mail programs open links by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import ClientInfoDep, EmailServiceDep, Visitor
from app.accounts.schemas import EmailInput, EmailUndo, EmailVerification, PasswordReset
from app.core.errors import Forbidden
from app.core.translation import mark
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, ErrorFields, Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException
from app.web.rendering import render

# The address of such a page holds a secret.
SECRET = {"Referrer-Policy": "no-referrer"}
WRONG_PASSWORD: ErrorFields = {Forbidden: "current_password"}

router = APIRouter()


@router.get("/verify-email")
async def show_verify_email(request: Request) -> Response:
    return show(request, "verify_email", with_token(request))


@router.post("/verify-email")
async def verify_email(
    request: Request,
    form: FormDep,
    emails: EmailServiceDep,
    client: ClientInfoDep,
    visitor: Visitor,
) -> Response:
    with errors_shown(request, "verify_email", form, WRONG_PASSWORD):
        await emails.verify(form.read(EmailVerification), client, visitor)
    page = "show_account" if visitor else "show_login"
    return flash(request, page_url(request, page), mark("Email address confirmed."))


@router.post("/verify-email/resend")
async def resend_verification(
    request: Request, form: FormDep, emails: EmailServiceDep, client: ClientInfoDep
) -> Response:
    with errors_shown(request, "verify_email", form):
        await emails.request_verification(form.read(EmailInput).email, client)
    return flash(
        request,
        page_url(request, "show_verify_email"),
        mark("If there is an account with this email address, an email is on its way."),
    )


@router.get("/forgot-password")
async def show_forgot_password(request: Request) -> Response:
    return show(request, "forgot_password", Form())


@router.post("/forgot-password")
async def request_password_reset(
    request: Request, form: FormDep, emails: EmailServiceDep, client: ClientInfoDep
) -> Response:
    with errors_shown(request, "forgot_password", form):
        await emails.request_reset(form.read(EmailInput).email, client)
    return flash(
        request,
        page_url(request, "show_forgot_password"),
        mark("If there is an account with this email address, an email is on its way."),
    )


@router.get("/undo-email")
async def show_undo_email(request: Request) -> Response:
    return show(request, "undo_email", with_token(request))


@router.post("/undo-email")
async def undo_email_change(
    request: Request, form: FormDep, emails: EmailServiceDep, client: ClientInfoDep
) -> Response:
    with errors_shown(request, "undo_email", form):
        await emails.undo_change(form.read(EmailUndo), client)
    return flash(
        request,
        page_url(request, "show_forgot_password"),
        mark("Your address is restored, and every device is signed out. Set a new password now."),
    )


@router.get("/reset-password")
async def show_reset_password(request: Request) -> Response:
    return show(request, "reset_password", with_token(request))


@router.post("/reset-password")
async def reset_password(
    request: Request, form: FormDep, emails: EmailServiceDep, client: ClientInfoDep
) -> Response:
    with errors_shown(request, "reset_password", form):
        await emails.reset_password(form.read(PasswordReset), client)
    return flash(
        request,
        page_url(request, "show_login"),
        mark("Password changed. Every device is signed out."),
    )


@contextmanager
def errors_shown(
    request: Request, page: str, form: Form, fields: ErrorFields | None = None
) -> Iterator[None]:
    """Show the page again, with the errors, if the block refuses the form."""
    try:
        yield
    except FORM_ERRORS as error:
        form.add_error(error, fields)
        raise ResponseException(show(request, page, form)) from error


def with_token(request: Request) -> Form:
    return Form({"token": request.query_params.get("token", "")})


def show(request: Request, page: str, form: Form) -> Response:
    is_refused = form.status == 422 and bool(form.alert or form.errors.get("token"))
    return render(
        request,
        f"accounts/{page}.html",
        form=form,
        headers=SECRET,
        holds=bool(form.get("token")) and not is_refused,
    )
