"""Where the mails' links land. GET only shows a button: mail programs open links by themselves."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form
from jinja2 import Environment, StrictUndefined
from pydantic import ValidationError
from starlette.responses import HTMLResponse

from app.accounts.dependencies import DeviceDep, EmailServiceDep
from app.accounts.schemas import Accepted, EmailInput, EmailVerification, PasswordReset
from app.core.errors import Conflict, Invalid

VERIFY = {"title": "Confirm your e-mail address", "button": "Confirm", "asks": None}
FORGOT = {"title": "Forgot your password?", "button": "Send a link", "asks": "email"}
RESET = {"title": "Set a new password", "button": "Set password", "asks": "password"}
TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined).from_string(
    (Path(__file__).parent / "templates" / "mail_link.html").read_text()
)
Field = Annotated[str, Form()]

router = APIRouter(include_in_schema=False)


@router.get("/verify-email")
async def show_verify_email(token: str = "") -> HTMLResponse:
    return page(VERIFY, token=token)


@router.post("/verify-email")
async def submit_verify_email(
    token: Field, service: EmailServiceDep, device: DeviceDep
) -> HTMLResponse:
    try:
        await service.verify(EmailVerification.model_validate({"token": token}), device)
    except (ValidationError, Invalid, Conflict) as error:
        return page(VERIFY, message=reason(error), status=422)
    return page(VERIFY, message="Your address is confirmed.")


@router.get("/forgot-password")
async def show_forgot_password() -> HTMLResponse:
    return page(FORGOT)


@router.post("/forgot-password")
async def submit_forgot_password(
    email: Field, service: EmailServiceDep, device: DeviceDep
) -> HTMLResponse:
    try:
        data = EmailInput.model_validate({"email": email})
    except ValidationError as error:
        return page(FORGOT, message=reason(error), status=422)
    await service.request_reset(data.email, device)
    return page(FORGOT, message=Accepted().detail)


@router.get("/reset-password")
async def show_reset_password(token: str = "") -> HTMLResponse:
    return page(RESET, token=token)


@router.post("/reset-password")
async def submit_reset_password(
    token: Field, password: Field, service: EmailServiceDep, device: DeviceDep
) -> HTMLResponse:
    try:
        data = PasswordReset.model_validate({"token": token, "password": password})
        await service.reset_password(data, device)
    except ValidationError as error:  # of the password: another may be tried
        return page(RESET, token=token, message=reason(error), status=422)
    except Invalid as error:
        return page(RESET, message=reason(error), status=422)
    return page(RESET, message="Your password is set, and you are signed out everywhere.")


def page(
    what: dict[str, Any], *, token: str = "", message: str = "", status: int = 200
) -> HTMLResponse:
    html = TEMPLATE.render(what | {"token": token, "message": message})
    return HTMLResponse(html, status, {"Cache-Control": "no-store"})


def reason(error: ValidationError | Invalid | Conflict) -> str:
    if isinstance(error, ValidationError):
        return error.errors(include_input=False, include_url=False)[0]["msg"]
    return error.detail
