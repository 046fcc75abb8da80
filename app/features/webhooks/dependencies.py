from functools import partial
from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.core.config import Settings
from app.core.database.session import Session
from app.core.database.unit_of_work import UnitsOfWork
from app.core.resources import Resources, ResourcesDep
from app.core.security.principal import Principal
from app.core.security.seals import Seals
from app.features.webhooks.events import event_scopes
from app.features.webhooks.repository import DeliveryUnit, OwnWebhooks
from app.features.webhooks.service.addresses import AddressRules
from app.features.webhooks.service.client import WebhookClient
from app.features.webhooks.service.deliveries import DeliveryService, EventOutbox
from app.features.webhooks.service.secrets import WebhookSecrets
from app.features.webhooks.service.webhooks import WebhookService

EVENT_SCOPES = event_scopes()


def build_secrets(settings: Settings) -> WebhookSecrets:
    keys = [key for key in (settings.signing_key, settings.previous_signing_key) if key]
    return WebhookSecrets(Seals("webhook", *keys))


def build_service(resources: Resources, principal: Principal) -> WebhookService:
    settings = resources.settings
    return WebhookService(
        UnitsOfWork(partial(OwnWebhooks, principal=principal), resources.database),
        principal,
        resources.cursors,
        build_secrets(settings),
        AddressRules(settings.webhook_allowed_networks),
        EVENT_SCOPES,
        resources.rate_limiter,
        requires_https=settings.environment == "production",
    )


def build_deliveries(resources: Resources) -> DeliveryService:
    settings = resources.settings
    return DeliveryService(
        UnitsOfWork(DeliveryUnit, resources.database),
        build_secrets(settings),
        WebhookClient(AddressRules(settings.webhook_allowed_networks)),
        resources.mailer,
        settings.site_url,
    )


def build_outbox(resources: Resources, session: Session) -> EventOutbox:
    return EventOutbox(DeliveryUnit(session), resources.absences)


async def get_webhook_service(principal: PrincipalDep, resources: ResourcesDep) -> WebhookService:
    """Build the service for a request of the API, with an access token."""
    return build_service(resources, principal)


async def get_member_webhooks(member: Member, resources: ResourcesDep) -> WebhookService:
    """Build the service for a page, whose user is signed in by a cookie."""
    return build_service(resources, member)


ReadWebhooks = Annotated[WebhookService, Security(get_webhook_service, scopes=["webhooks:read"])]
WriteWebhooks = Annotated[WebhookService, Security(get_webhook_service, scopes=["webhooks:write"])]
MemberWebhooks = Annotated[WebhookService, Depends(get_member_webhooks)]
