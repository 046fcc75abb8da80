"""The pages on which a user makes and revokes API keys. The account page lists them."""

from contextlib import suppress
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import ApiKeyServiceDep, Member
from app.accounts.pages.confirm import require_confirmation
from app.accounts.schemas import ApiKeyCreate
from app.accounts.scopes import all_scopes, key_scopes
from app.core.errors import Forbidden, NotFound
from app.core.security.principal import Principal
from app.core.translation import mark
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException
from app.web.rendering import render

router = APIRouter(prefix="/account/api-keys")


@router.get("/new")
async def show_new_api_key(request: Request, principal: Member) -> Response:
    days = ApiKeyCreate.model_fields["expires_in_days"].default
    return show(request, principal, Form({"expires_in_days": str(days)}))


@router.post("/new")
async def create_api_key(
    request: Request, form: FormDep, principal: Member, keys: ApiKeyServiceDep
) -> Response:
    """Show the new key, instead of a redirect to a page that would have to know it."""
    try:
        scopes = [scope for scope in offered_scopes(principal) if form.get(scope)]
        created = await keys.create(principal, form.read(ApiKeyCreate, scopes=scopes))
    except FORM_ERRORS as error:
        form.add_error(error, {Forbidden: "current_password"})
        raise ResponseException(show(request, principal, form)) from error
    return render(request, "accounts/api_key_created.html", api_key=created)


@router.post("/{key_id}/revoke")
async def revoke_api_key(
    request: Request, key_id: UUID, principal: Member, keys: ApiKeyServiceDep
) -> Response:
    await require_confirmation(request, principal)
    with suppress(NotFound):  # it has been revoked already
        await keys.revoke(principal, key_id)
    return flash(request, page_url(request, "show_account"), mark("API key revoked."))


def show(request: Request, principal: Principal, form: Form) -> Response:
    return render(request, "accounts/new_api_key.html", form=form, scopes=offered_scopes(principal))


def offered_scopes(principal: Principal) -> dict[str, str]:
    """Return the scopes that the user's keys can have, each with what it allows."""
    texts = all_scopes()
    return {scope: texts[scope] for scope in sorted(key_scopes(principal.is_superuser))}
