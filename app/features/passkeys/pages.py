"""The pages of passkeys. A script asks the browser for them, and fills in and sends their forms.

It gets the options by GET, which stores nothing.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.accounts.dependencies import (
    ChallengeCookieDep,
    ClientInfoDep,
    Member,
    SecondFactorServiceDep,
    SessionCookieDep,
)
from app.accounts.pages.confirm import finish_confirmation, require_confirmation
from app.accounts.pages.confirm import show as show_confirm_page
from app.accounts.pages.sign_in import finish_sign_in, show_code_page
from app.accounts.pages.sign_in import show as show_sign_in_page
from app.core.errors import Conflict, NotFound
from app.core.resources import resources_of
from app.core.security.principal import Principal
from app.core.translation import mark
from app.features.passkeys.dependencies import (
    PasskeyServiceDep,
    get_passkey_service,
    host_and_origin,
)
from app.features.passkeys.schemas import (
    PasskeyAnswer,
    PasskeyCreate,
    PasskeyOptions,
    PasskeyUpdate,
)
from app.features.passkeys.service.passkeys import PasskeyService
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import page_url
from app.web.navigation import RecordLink, ResponseException
from app.web.parts import PagePart
from app.web.rendering import render

RECORD_LINKS = [
    RecordLink(
        "account",
        mark("Passkeys"),
        "show_passkeys",
        mark("Sign in with your device or a security key, without a password."),
    )
]

router = APIRouter(include_in_schema=False)


async def offer_sign_in(request: Request) -> Mapping[str, Any]:
    return {"origin": origin_of(request)}


async def offer_second_factor(request: Request) -> Mapping[str, Any] | None:
    resources = resources_of(request)
    challenge = resources.accounts.challenge_cookie.read(request)
    service = await get_passkey_service(resources)
    if challenge is None or not await service.is_second_factor_of(challenge):
        return None
    return {"origin": origin_of(request)}


async def offer_confirmation(request: Request) -> Mapping[str, Any] | None:
    service = await get_passkey_service(resources_of(request))
    principal: Principal = request.state.principal
    return {"origin": origin_of(request)} if await service.has_any(principal.user_id) else None


PAGE_PARTS = [
    PagePart("sign-in", "passkeys/sign_in.html", offer_sign_in),
    PagePart("second factor", "passkeys/second_factor.html", offer_second_factor),
    PagePart("confirmation", "passkeys/confirm.html", offer_confirmation),
]


@router.get("/login/passkey/options")
async def read_sign_in_options(service: PasskeyServiceDep) -> Response:
    return as_json(await service.begin_sign_in())


@router.post("/login/passkey")
async def sign_in_with_passkey(
    request: Request,
    form: FormDep,
    service: PasskeyServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
) -> Response:
    try:
        signed_in = await service.sign_in(form.read(PasskeyAnswer), client, cookie.read(request))
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(await show_sign_in_page(request, form)) from error
    return finish_sign_in(request, form, signed_in)


@router.get("/login/code/passkey/options")
async def read_second_factor_options(
    request: Request, service: PasskeyServiceDep, challenge_cookie: ChallengeCookieDep
) -> Response:
    return as_json(await service.begin_sign_in(challenge_cookie.read(request) or "none"))


@router.post("/login/code/passkey")
async def sign_in_with_second_passkey(
    request: Request,
    form: FormDep,
    service: PasskeyServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
    challenge_cookie: ChallengeCookieDep,
) -> Response:
    challenge = challenge_cookie.read(request) or "none"
    try:
        data = form.read(PasskeyAnswer)
        signed_in = await service.sign_in(data, client, cookie.read(request), challenge)
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(await show_code_page(request, form)) from error
    response = finish_sign_in(request, form, signed_in)
    challenge_cookie.delete(response)
    return response


@router.get("/confirm/passkey/options")
async def read_confirmation_options(service: PasskeyServiceDep, principal: Member) -> Response:
    return as_json(await service.begin_confirmation(principal))


@router.post("/confirm/passkey")
async def confirm_with_passkey(
    request: Request,
    form: FormDep,
    principal: Member,
    service: PasskeyServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
) -> Response:
    """Accept a passkey in place of the password.

    The form may hold another one, which was interrupted, so that its own fields have other names.
    """
    answer = {name: form.values.pop(f"confirm_{name}", "") for name in ("token", "credential")}
    try:
        value = await service.confirm(principal, Form(answer).read(PasskeyAnswer), client)
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(await show_confirm_page(request, principal, form)) from error
    return finish_confirmation(request, form, cookie, value)


@router.get("/account/passkeys")
async def show_passkeys(
    request: Request, principal: Member, service: PasskeyServiceDep
) -> Response:
    return await show(request, principal, service, Form())


@router.get("/account/passkeys/new")
async def show_new_passkey(request: Request, principal: Member) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    return show_new(request, Form())


@router.get("/account/passkeys/new/options")
async def read_new_passkey_options(
    request: Request, principal: Member, service: PasskeyServiceDep
) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    return as_json(await service.begin_confirmed_creation(principal))


@router.post("/account/passkeys/new")
async def create_passkey(
    request: Request, form: FormDep, principal: Member, service: PasskeyServiceDep
) -> Response:
    """Add a passkey. With the first factor, show the recovery codes, which no other page knows."""
    await require_confirmation(request, principal, by_factor=True)
    try:
        created = await service.create(principal, form.read(PasskeyCreate))
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(show_new(request, form)) from error
    if codes := created.recovery_codes:
        return render(request, "accounts/recovery_codes.html", codes=codes)
    text = mark("“{name}” added.")
    return flash(request, page_url(request, "show_passkeys"), text, name=created.name)


@router.post("/account/passkeys/recovery-codes")
async def renew_codes_of_passkeys(
    request: Request, principal: Member, second_factors: SecondFactorServiceDep
) -> Response:
    """Renew the recovery codes without one of an app, for a user who may have none."""
    await require_confirmation(request, principal, by_factor=True)
    renewed = await second_factors.renew_confirmed_recovery_codes(principal)
    return render(request, "accounts/recovery_codes.html", codes=renewed.recovery_codes)


@router.post("/account/passkeys/{passkey_id}/rename")
async def rename_passkey(
    request: Request,
    passkey_id: UUID,
    form: FormDep,
    principal: Member,
    service: PasskeyServiceDep,
) -> Response:
    try:
        renamed = await service.rename(principal, passkey_id, form.read(PasskeyUpdate))
    except FORM_ERRORS as error:
        form.add_error(error)
        page = await show(request, principal, service, form, at=passkey_id)
        raise ResponseException(page) from error
    text = mark("Renamed to “{name}”.")
    return flash(request, page_url(request, "show_passkeys"), text, name=renamed.name)


@router.post("/account/passkeys/{passkey_id}/remove")
async def remove_passkey(
    request: Request, passkey_id: UUID, principal: Member, service: PasskeyServiceDep
) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    try:
        with suppress(NotFound):  # it has been removed already
            await service.remove_confirmed(principal, passkey_id)
    except Conflict as error:
        form = Form()
        form.add_error(error)
        page = await show(request, principal, service, form)
        raise ResponseException(page) from error
    return flash(request, page_url(request, "show_passkeys"), mark("Passkey removed."))


async def show(
    request: Request,
    principal: Principal,
    service: PasskeyService,
    form: Form,
    at: UUID | None = None,
) -> Response:
    """Show the passkeys. `at` is the one whose form was sent."""
    passkeys = await service.list(principal)
    return render(request, "passkeys/list.html", form=form, passkeys=passkeys, at=at, blank=Form())


def show_new(request: Request, form: Form) -> Response:
    return render(request, "passkeys/new.html", form=form, origin=origin_of(request))


def origin_of(request: Request) -> str:
    return host_and_origin(resources_of(request).settings)[1]


def as_json(options: PasskeyOptions) -> Response:
    return JSONResponse(options.model_dump(), headers={"Cache-Control": "no-store"})
