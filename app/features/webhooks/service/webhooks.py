"""Rules of webhooks, for their owners."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from pydantic import HttpUrl, TypeAdapter

from app.accounts.scopes import all_scopes
from app.core.database.models import utc_now
from app.core.database.pagination import Cursors, Page, Sort
from app.core.database.repository import Versions
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, Invalid, MissingScope
from app.core.security.principal import Principal
from app.core.security.rate_limit import RateLimiter
from app.core.translation import current_language, mark
from app.features.webhooks.events import TEST
from app.features.webhooks.models import WebhookDelivery
from app.features.webhooks.repository import OwnWebhooks
from app.features.webhooks.schemas import (
    DeliveryDetails,
    DeliveryQuery,
    DeliveryRead,
    WebhookCreate,
    WebhookCreated,
    WebhookQuery,
    WebhookRead,
    WebhookSecret,
    WebhookUpdate,
)
from app.features.webhooks.service.addresses import AddressRules, ForbiddenAddress, UnknownHost
from app.features.webhooks.service.deliveries import (
    free_places,
    hasten_attempts,
    payload_of,
    queue_attempt,
    queue_deliveries,
)
from app.features.webhooks.service.secrets import OVERLAP, WebhookSecrets, new_secret

MAX_WEBHOOKS = 10
SENDS_PER_MINUTE = 30
NO_ADDRESS = mark("Enter an address such as https://example.com/webhooks.")
NO_HTTPS = mark("The address has to begin with https://.")
HAS_CREDENTIALS = mark("The address must not have a user name, a password or a fragment.")
UNKNOWN = mark("The host of the address cannot be found.")
NOT_PUBLIC = mark("The host of the address is not public.")
URL = TypeAdapter(HttpUrl)


class WebhookService:
    """The webhooks of a principal.

    It has short units of work of its own, so that no connection is held while a name is looked up.
    """

    def __init__(
        self,
        units: UnitsOfWork[OwnWebhooks],
        principal: Principal,
        cursors: Cursors,
        secrets: WebhookSecrets,
        rules: AddressRules,
        event_scopes: Mapping[str, str],
        limiter: RateLimiter,
        *,
        requires_https: bool,
    ) -> None:
        self._units = units
        self._principal = principal
        self._cursors = cursors
        self._secrets = secrets
        self._rules = rules
        self._event_scopes = event_scopes
        self._limiter = limiter
        self._requires_https = requires_https

    def event_types(self) -> list[str]:
        """Return the types of events that the principal may have sent, by its scopes."""
        return sorted(type_ for type_, scope in self._event_scopes.items() if self._has(scope))

    async def list(self, query: WebhookQuery) -> Page[WebhookRead]:
        sort = Sort(query.sort)
        after = self._cursors.read(query.cursor, sort)
        async with self._units.reading() as unit:
            rows = await unit.webhooks.list(query, sort, after, query.limit + 1)
            total = await unit.webhooks.total(query) if query.with_total else None
        return self._cursors.page(Page[WebhookRead], rows, query.limit, sort, total)

    async def get(self, webhook_id: int) -> WebhookRead:
        async with self._units.reading() as unit:
            return await unit.webhooks.get(webhook_id)

    async def create(self, data: WebhookCreate) -> WebhookCreated:
        """Create a webhook, and return its secret this once.

        Raise Invalid, MissingScope, or Conflict if there are as many as are allowed.
        """
        values = data.model_dump()
        await self._check(values)
        secret = new_secret()
        values["sealed_secret"] = self._secrets.seal(self._principal.user_id, secret)
        values["language"] = current_language().tag
        async with self._units.transaction() as unit:
            await unit.webhooks.lock_owner()  # This makes the number of webhooks exact.
            if await unit.webhooks.count_own() >= MAX_WEBHOOKS:
                raise Conflict(
                    "There are {count} webhooks. Delete one of them first.", count=MAX_WEBHOOKS
                )
            created = await unit.webhooks.create(values)
            unit.tell_change()
        return WebhookCreated(**created.model_dump(), secret=secret)

    async def update(
        self, webhook_id: int, data: WebhookCreate | WebhookUpdate, expected: Versions
    ) -> WebhookRead:
        """Replace (WebhookCreate) or change (WebhookUpdate) a webhook.

        Raise NotFound, Stale, Invalid or MissingScope.
        """
        changes = data.model_dump()  # omits the fields that are MISSING
        await self._check(changes)
        if "is_enabled" in changes:
            changes["disabled_reason"] = None
        if changes.get("is_enabled"):
            # `last_dropped_at` stays: it limits how often the owner gets a mail.
            changes |= {"failing_since": None, "dropped_events": 0}
        async with self._units.transaction() as unit:
            await unit.webhooks.lock_owner()
            # A principal that changes where events go has to be able to read them. The types are
            # read under the lock: the owner may have added some while the host was looked up.
            self._require_scopes((await unit.webhooks.get(webhook_id)).event_types)
            updated = await unit.webhooks.update(webhook_id, changes, expected)
            if changes.get("is_enabled"):
                unit.tell_change()
                await hasten_attempts(unit.deliveries, unit.jobs, webhook_id)
            return updated

    async def delete(self, webhook_id: int, expected: Versions) -> None:
        """Delete a webhook with its deliveries. Raise NotFound or Stale."""
        async with self._units.transaction() as unit:
            await unit.webhooks.delete(webhook_id, expected)

    async def replace_secret(self, webhook_id: int) -> WebhookSecret:
        """Replace the secret, and sign with those before as well for a day. Raise NotFound."""
        secret, now = new_secret(), utc_now()
        async with self._units.transaction() as unit:
            webhook = await unit.webhooks.lock(webhook_id)
            self._secrets.replace(webhook, secret, now)
            webhook.version += 1
        return WebhookSecret(secret=secret, previous_secret_until=now + OVERLAP)

    async def send_test(self, webhook_id: int) -> DeliveryRead:
        """Queue an event of the type `webhook.test`.

        Raise NotFound, Conflict or TooManyRequests.
        """
        await self._count_send()
        async with self._units.transaction() as unit:
            await self._lock_sendable(unit, webhook_id)
            payload = payload_of(TEST, {"webhook_id": webhook_id}, utc_now())
            test = (webhook_id, TEST, payload)
            (message_id,) = await queue_deliveries(unit.deliveries, unit.jobs, [test])
            return DeliveryRead.model_validate(await unit.deliveries.get_message(message_id))

    async def list_deliveries(self, webhook_id: int, query: DeliveryQuery) -> Page[DeliveryRead]:
        """Return a page of the deliveries. Raise NotFound."""
        sort, status = Sort(query.sort), query.status
        after = self._cursors.read(query.cursor, sort)
        async with self._units.reading() as unit:
            await unit.webhooks.get(webhook_id)
            rows = await unit.deliveries.list(webhook_id, status, sort, after, query.limit + 1)
            total = await unit.deliveries.total(webhook_id, status) if query.with_total else None
        return self._cursors.page(Page[DeliveryRead], rows, query.limit, sort, total)

    async def get_delivery(self, webhook_id: int, delivery_id: int) -> DeliveryDetails:
        """Return a delivery with its payload. Raise NotFound or MissingScope."""
        async with self._units.reading() as unit:
            await unit.webhooks.get(webhook_id)
            found: WebhookDelivery = await unit.deliveries.get(webhook_id, delivery_id)
        self._require_scopes([found.event_type])
        return DeliveryDetails.model_validate(found)

    async def send_again(self, webhook_id: int, delivery_id: int) -> DeliveryRead:
        """Send a delivery now, whatever became of it, with the same id.

        If it fails, it is tried again as often as a new one. Raise NotFound, Conflict or
        TooManyRequests.
        """
        await self._count_send()
        async with self._units.transaction() as unit:
            await self._lock_sendable(unit, webhook_id)
            delivery = await unit.deliveries.get(webhook_id, delivery_id, lock=True)
            delivery.attempts = 0
            await queue_attempt(unit.jobs, delivery, timedelta(0))
            return DeliveryRead.model_validate(delivery)

    async def _count_send(self) -> None:
        """Count what a user has sent on demand. Raise TooManyRequests."""
        limit = RateLimitItemPerMinute(SENDS_PER_MINUTE)
        await self._limiter.hit("webhook-send", limit, str(self._principal.user_id))

    async def _lock_sendable(self, unit: OwnWebhooks, webhook_id: int) -> None:
        webhook = await unit.webhooks.lock(webhook_id)
        if not webhook.is_enabled:
            raise Conflict("The webhook is disabled. Enable it first.")
        if not (await free_places(unit.jobs, [webhook_id]))[webhook_id]:
            raise Conflict("Too many deliveries of this webhook are waiting. Try again later.")

    async def _check(self, values: dict[str, Any]) -> None:
        if "event_types" in values:
            values["event_types"] = self._checked_types(values["event_types"])
        if "url" in values:
            values["url"] = await self._checked_url(values["url"])

    def _checked_types(self, types: Sequence[str]) -> Sequence[str]:
        for type_ in types:
            if type_ not in self._event_scopes:
                raise Invalid(
                    "There are no events of the type {type}.", "body", "event_types", type=type_
                )
        self._require_scopes(types)
        return sorted({*types})

    def _require_scopes(self, types: Iterable[str]) -> None:
        """Raise MissingScope for events of records that the principal cannot read otherwise."""
        scopes = {self._event_scopes[each] for each in types if each in self._event_scopes}
        for scope in sorted(scopes):
            if not self._has(scope):
                raise MissingScope("The access token lacks the scope {scope}.", scope=scope)

    def _has(self, scope: str) -> bool:
        return scope in self._principal.scopes or scope not in all_scopes()

    async def _checked_url(self, text: str) -> str:
        """Return the address in its normal form. Raise Invalid."""
        try:
            url = str(URL.validate_python(text))
            parts = urlsplit(url)
        except ValueError as error:  # ValidationError is one.
            raise invalid_url(NO_ADDRESS) from error
        if self._requires_https and parts.scheme != "https":
            raise invalid_url(NO_HTTPS)
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise invalid_url(HAS_CREDENTIALS)
        try:
            await self._rules.addresses_of(parts.hostname or "")
        except UnknownHost as error:
            raise invalid_url(UNKNOWN) from error
        except ForbiddenAddress as error:
            raise invalid_url(NOT_PUBLIC) from error
        return url


def invalid_url(text: str) -> Invalid:
    return Invalid(text, "body", "url")
