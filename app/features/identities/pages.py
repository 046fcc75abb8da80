"""The pages of a sign-in with another provider, and of the identities of an account.

A sign-in begins by a form of this site: a link of another could sign its visitors in. A provider
leads back by a GET, which here signs in: it takes the cookie of the same browser.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import (
    ClientInfoDep,
    Member,
    SessionCookieDep,
    Visitor,
)
from app.accounts.pages.confirm import require_confirmation
from app.accounts.pages.sign_in import ask_for_code, finish_sign_in
from app.core.context import root_path
from app.core.errors import (
    AppError,
    Conflict,
    Forbidden,
    InvalidTokenRequest,
    NotFound,
    NotSignedIn,
    SecondFactorRequired,
    TooManyRequests,
    Unavailable,
)
from app.core.http.problem_kinds import KINDS
from app.core.resources import resources_of
from app.core.security.principal import Principal
from app.core.translation import mark
from app.features.identities.dependencies import (
    FlowCookieDep,
    IdentityServiceDep,
    LinkCookieDep,
    get_identity_service,
)
from app.features.identities.schemas import Claims, Flow, Purpose
from app.features.identities.service.identities import IdentityService, LinkRequired, read_callback
from app.web.flash import flash
from app.web.forms import Form, translate_error
from app.web.links import page_url
from app.web.navigation import RecordLink, ResponseException, local_path, redirect
from app.web.parts import PagePart
from app.web.rendering import render

# What a provider's answer, or the state of the account, can have against a sign-in.
REFUSALS = (Conflict, Forbidden, InvalidTokenRequest, TooManyRequests, Unavailable)

NEEDS = "oidc_providers"
RECORD_LINKS = [
    RecordLink(
        "account",
        mark("Other ways to sign in"),
        "show_identities",
        mark("Sign in with an account of another provider, in place of the password."),
    )
]

router = APIRouter(include_in_schema=False)


async def offer_providers(request: Request) -> Mapping[str, Any]:
    identities = await get_identity_service(resources_of(request))
    return {"providers": identities.providers, "next": request.query_params.get("next")}


async def offer_linked_providers(request: Request) -> Mapping[str, Any] | None:
    """Return the providers of which the user has an identity."""
    identities = await get_identity_service(resources_of(request))
    principal: Principal = request.state.principal
    issuers = {each.issuer for each in await identities.list(principal)}
    providers = [
        each
        for each in identities.providers
        if each.issuer in issuers and (each.second_factor or not request.state.takes_factor)
    ]
    next_ = request.query_params.get("next")
    return {"providers": providers, "next": next_} if providers else None


PAGE_PARTS = [
    PagePart("sign-in", "identities/sign_in.html", offer_providers),
    PagePart("confirmation", "identities/confirm.html", offer_linked_providers),
]


@router.post("/login/with/{provider}")
async def sign_in_with_provider(
    request: Request,
    provider: str,
    identities: IdentityServiceDep,
    client: ClientInfoDep,
    cookie: FlowCookieDep,
) -> Response:
    return await begin(request, provider, "sign_in", identities, client, cookie)


@router.post("/confirm/with/{provider}")
async def confirm_with_provider(
    request: Request,
    provider: str,
    principal: Member,
    identities: IdentityServiceDep,
    client: ClientInfoDep,
    cookie: FlowCookieDep,
) -> Response:
    return await begin(request, provider, "confirm", identities, client, cookie)


@router.post("/account/identities/link/{provider}")
async def begin_link(
    request: Request,
    provider: str,
    principal: Member,
    identities: IdentityServiceDep,
    client: ClientInfoDep,
    cookie: FlowCookieDep,
) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    return await begin(request, provider, "link", identities, client, cookie)


@router.get("/login/with/{provider}/callback")
async def finish_with_provider(
    request: Request,
    provider: str,
    visitor: Visitor,
    identities: IdentityServiceDep,
    client: ClientInfoDep,
    cookie: FlowCookieDep,
    session_cookie: SessionCookieDep,
    link_cookie: LinkCookieDep,
) -> Response:
    try:
        callback = read_callback(request.query_params.multi_items())
        flow = identities.resume(provider, cookie.read(request), callback)
        claims = await identities.claims(flow, callback, client)
        match flow.purpose:
            case "sign_in":
                response = await sign_in(
                    request, flow, claims, identities, client, session_cookie, link_cookie
                )
            case "confirm":
                value = await identities.confirm(member(visitor), flow, claims)
                response = redirect(flow.next)
                session_cookie.write(response, value)
            case "link":
                token = await identities.offer(member(visitor), flow, claims)
                response = redirect(page_url(request, "show_pending_link"))
                link_cookie.write(response, token)
    except REFUSALS as error:
        response = show_refusal(request, error)
    # A second use of the same address has nothing to go on with.
    cookie.delete(response)
    return response


@router.get("/account/identities")
async def show_identities(
    request: Request, principal: Member, identities: IdentityServiceDep
) -> Response:
    return await show(request, principal, identities, Form())


@router.post("/account/identities/{identity_id}/unlink")
async def unlink_identity(
    request: Request, identity_id: UUID, principal: Member, identities: IdentityServiceDep
) -> Response:
    await require_confirmation(request, principal)
    try:
        with suppress(NotFound):  # it has been unlinked already
            await identities.unlink(principal, identity_id)
    except Conflict as error:
        form = Form()
        form.add_error(error)
        page = await show(request, principal, identities, form)
        raise ResponseException(page) from error
    return flash(request, page_url(request, "show_identities"), mark("Unlinked."))


@router.get("/account/identities/pending")
async def show_pending_link(
    request: Request, principal: Member, identities: IdentityServiceDep, cookie: LinkCookieDep
) -> Response:
    await require_confirmation(request, principal, by_factor=True)
    try:
        pending = identities.pending(principal, cookie.read(request))
    except Forbidden as error:
        return show_refusal(request, error)
    titles = {each.name: each.title for each in identities.providers}
    title = titles.get(pending.provider, pending.issuer)
    return render(request, "identities/link.html", pending=pending, title=title)


@router.post("/account/identities/pending")
async def link_identity(
    request: Request, principal: Member, identities: IdentityServiceDep, cookie: LinkCookieDep
) -> Response:
    """Link what the page before has shown."""
    await require_confirmation(request, principal, by_factor=True)
    try:
        await identities.link(principal, cookie.read(request))
    except (Conflict, Forbidden) as error:
        raise ResponseException(show_refusal(request, error)) from error
    text = mark("Linked. You can sign in with it from now on.")
    response = flash(request, page_url(request, "show_identities"), text)
    cookie.delete(response)
    return response


async def begin(
    request: Request,
    provider: str,
    purpose: Purpose,
    identities: IdentityService,
    client: ClientInfoDep,
    cookie: FlowCookieDep,
) -> Response:
    """Lead the browser to the provider, and have it keep what its answer is checked by.

    A page does so, since the policy of pages (`form-action`) forbids a form to be redirected to
    another site.
    """
    next_ = local_path(request.query_params.get("next"), root_path(request.scope))
    try:
        url, kept = await identities.begin(provider, purpose, next_, client)
    except (TooManyRequests, Unavailable) as error:
        raise ResponseException(show_refusal(request, error)) from error
    title = next(each.title for each in identities.providers if each.name == provider)
    response = render(request, "identities/leave.html", url=url, title=title)
    cookie.write(response, kept)
    return response


async def sign_in(
    request: Request,
    flow: Flow,
    claims: Claims,
    identities: IdentityService,
    client: ClientInfoDep,
    session_cookie: SessionCookieDep,
    link_cookie: LinkCookieDep,
) -> Response:
    form = Form({"next": flow.next})
    try:
        signed_in = await identities.sign_in(flow, claims, client, session_cookie.read(request))
    except SecondFactorRequired as required:
        return await ask_for_code(request, form, required)
    except LinkRequired as required:
        page = page_url(request, "show_login", next=page_url(request, "show_pending_link"))
        text = mark("You have an account with this email address. Sign in to link the two.")
        response = flash(request, page, text)
        link_cookie.write(response, required.token)
        return response
    return finish_sign_in(request, form, signed_in)


def member(visitor: Principal | None) -> Principal:
    if visitor is None:
        raise NotSignedIn
    return visitor


async def show(
    request: Request, principal: Principal, identities: IdentityService, form: Form
) -> Response:
    return render(
        request,
        "identities/list.html",
        form=form,
        identities=await identities.list(principal),
        providers=identities.providers,
    )


def show_refusal(request: Request, error: AppError) -> Response:
    form = Form()
    form.add_error(error)
    form.status = KINDS[error.kind].status
    return render(
        request,
        "identities/refusal.html",
        form=form,
        text=translate_error(error),
        is_member=request.state.principal is not None,
    )
