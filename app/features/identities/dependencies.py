from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from app.accounts.service.attempts import Attempts
from app.core.config import Settings
from app.core.database.unit_of_work import UnitsOfWork
from app.core.resources import Resources, ResourcesDep
from app.core.security.cookies import Cookie
from app.core.security.seals import Seals
from app.features.identities.repository import Identities
from app.features.identities.schemas import FLOW_LIFETIME
from app.features.identities.service.identities import IdentityService

if TYPE_CHECKING:
    from app.features.identities.service.openid import ProviderClient


def build_service(resources: Resources) -> IdentityService:
    settings = resources.settings
    keys = [each for each in (settings.signing_key, settings.previous_signing_key) if each]
    return IdentityService(
        UnitsOfWork(Identities, resources.database),
        read_clients(settings) if settings.oidc_providers else {},
        resources.accounts.browsers,
        resources.accounts.confirmations,
        resources.accounts.sign_in_methods,
        Attempts(resources.rate_limiter, settings.rate_limit_login),
        Seals("provider sign-in", *keys),
        Seals("provider link", *keys),
        signup_enabled=settings.signup_enabled,
    )


def read_clients(settings: Settings) -> "Mapping[str, ProviderClient]":
    # A server without providers starts faster without the libraries.
    from app.features.identities.service.openid import build_clients

    return build_clients(settings.oidc_providers, settings.site_url)


async def get_identity_service(resources: ResourcesDep) -> IdentityService:
    """Return the service, which keeps the providers' documents and keys."""
    return await resources.keep(build_service)


async def get_flow_cookie(request: Request, resources: ResourcesDep) -> Cookie:
    return Cookie("provider_sign_in", FLOW_LIFETIME.seconds, resources.settings)


async def get_link_cookie(request: Request, resources: ResourcesDep) -> Cookie:
    return Cookie("provider_link", FLOW_LIFETIME.seconds, resources.settings)


IdentityServiceDep = Annotated[IdentityService, Depends(get_identity_service)]
FlowCookieDep = Annotated[Cookie, Depends(get_flow_cookie)]
LinkCookieDep = Annotated[Cookie, Depends(get_link_cookie)]
