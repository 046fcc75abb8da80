from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, insert, or_, select, update

from app.accounts.events import UserChanged
from app.accounts.models import ApiKey, AuthSession, User
from app.accounts.ownership import OwnedRepository, lock_owner
from app.core.database.events import Events, after_commit
from app.core.database.models import utc_now
from app.core.database.pagination import Position, Sort
from app.core.database.queries import Query, columns_of
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.errors import Unauthenticated
from app.core.jobs.queue import JobQueue
from app.core.security.principal import Principal
from app.features.webhooks.models import DeliveryStatus, DisabledReason, Webhook, WebhookDelivery
from app.features.webhooks.schemas import Subscription, WebhookRead

SUBSCRIPTIONS = Query(
    select(*columns_of(Webhook, Subscription))
    .join(User, User.id == Webhook.owner_id)
    .where(Webhook.owner_id == bindparam("owner_id"), Webhook.is_enabled, User.is_active)
    .order_by(Webhook.id)
    # Concurrent transactions wait for each other: otherwise each would fill what room there is.
    .with_for_update(of=Webhook, key_share=True),
    Subscription,
)

CREDENTIALS = (AuthSession, ApiKey)


class WebhookRepository(OwnedRepository[Webhook, WebhookRead]):
    """The webhooks of the principal. Nobody sees those of others, not even a superuser."""

    model = Webhook
    schema = WebhookRead

    async def lock_owner(self) -> None:
        """Let concurrent calls for the same owner wait for each other, up to the commit.

        Raise Unauthenticated if the session or API key ended since the request began: otherwise a
        thief's request that waits here could go on after the owner has ended them.
        """
        await lock_owner(self._session, self.principal.user_id)
        ids = [select(each.id).where(each.id == self.principal.session_id) for each in CREDENTIALS]
        if not await self._session.scalar(select(or_(*(each.exists() for each in ids)))):
            raise Unauthenticated("The session has ended. Sign in again.")

    async def count_own(self) -> int:
        return await self.count(select(Webhook).where(*self._own()))

    async def lock(self, id_: int) -> Webhook:
        """Return the webhook with its secret, locked until the commit. Raise NotFound."""
        statement = select(Webhook).where(Webhook.id == id_, *self._own()).with_for_update()
        return self.require_found(await self.one_or_none(statement), id_)

    def _own(self) -> Sequence[Any]:
        return [Webhook.owner_id == self.principal.user_id]


class DeliveryRepository(Repository[WebhookDelivery]):
    """The deliveries of a webhook, which the caller has found to be visible."""

    model = WebhookDelivery

    async def add_many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._session.execute(insert(WebhookDelivery), [*rows])

    async def list(
        self,
        webhook_id: int,
        status: DeliveryStatus | None,
        sort: Sort,
        after: Position | None,
        limit: int,
    ) -> Sequence[WebhookDelivery]:
        return await self.page(self._of(webhook_id, status), sort, after, limit)

    async def total(self, webhook_id: int, status: DeliveryStatus | None) -> int:
        return await self.count(self._of(webhook_id, status))

    async def get(self, webhook_id: int, id_: int, *, lock: bool = False) -> WebhookDelivery:
        """Return the delivery. Raise NotFound."""
        statement = self._of(webhook_id).where(WebhookDelivery.id == id_)
        found = await self.one_or_none(statement.with_for_update() if lock else statement)
        return self.require_found(found, id_)

    async def get_message(self, message_id: str) -> WebhookDelivery | None:
        statement = select(WebhookDelivery).where(WebhookDelivery.message_id == message_id)
        return await self.one_or_none(statement)

    async def note_due(self, message_ids: Collection[str]) -> None:
        """Note that the next attempts of pending deliveries are due now."""
        statement = update(WebhookDelivery).where(
            WebhookDelivery.message_id.in_(message_ids),
            WebhookDelivery.status == DeliveryStatus.PENDING,
        )
        await self._session.execute(statement.values(next_attempt_at=utc_now()))

    def _of(self, webhook_id: int, status: DeliveryStatus | None = None) -> Select[WebhookDelivery]:
        statement = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
        return statement if status is None else statement.where(WebhookDelivery.status == status)


class OwnWebhooks:
    """The repositories of one owner and the queue of jobs, in one session."""

    def __init__(self, session: Session, principal: Principal) -> None:
        self.webhooks = WebhookRepository(session, principal)
        self.deliveries = DeliveryRepository(session)
        self.jobs = JobQueue(session)
        self._events = Events(session)
        self._user_id = principal.user_id

    def tell_change(self) -> None:
        """Let this process forget, before it answers, that the owner has no webhooks."""
        self._events.record(UserChanged(user_id=self._user_id))


class Delivery(NamedTuple):
    """A delivery with its webhook, and whether its owner is active."""

    row: WebhookDelivery
    webhook: Webhook
    is_owner_active: bool


class DeliveryUnit:
    """The webhooks and deliveries of all users and the queue of jobs, for background jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.deliveries = DeliveryRepository(session)
        self.jobs = JobQueue(session)

    def after_commit(self, call: Callable[[], object]) -> None:
        after_commit(self._session, call)

    async def subscriptions(self, owner_id: int) -> Sequence[Subscription]:
        return await self._session.fetch(SUBSCRIPTIONS, {"owner_id": owner_id})

    async def note_dropped(self, webhook_id: int, count: int) -> None:
        statement = update(Webhook).where(Webhook.id == webhook_id)
        dropped = Webhook.dropped_events + count
        await self._session.execute(
            statement.values(dropped_events=dropped, last_dropped_at=utc_now())
        )

    async def disable(self, owner_ids: Collection[int]) -> None:
        enabled = select(Webhook.id).where(Webhook.owner_id.in_(owner_ids), Webhook.is_enabled)
        # Lock in the order of SUBSCRIPTIONS. Otherwise each could wait for the other.
        locked = enabled.order_by(Webhook.id).with_for_update(key_share=True)
        ids = (await self._session.scalars(locked)).all()
        await self._session.execute(
            update(Webhook)
            .where(Webhook.id.in_(ids))
            .values(
                is_enabled=False,
                disabled_reason=DisabledReason.REVOKED,
                version=Webhook.version + 1,
            )
        )

    async def get(self, message_id: str) -> Delivery | None:
        statement = (
            select(WebhookDelivery, Webhook, User.is_active)
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .join(User, User.id == Webhook.owner_id)
            .where(WebhookDelivery.message_id == message_id)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return row and Delivery(*row)

    async def lock(
        self, webhook_id: int, delivery_id: int
    ) -> tuple[Webhook, WebhookDelivery] | None:
        """Lock a webhook and then its delivery, in the order in which a deletion locks them."""
        webhook = select(Webhook).where(Webhook.id == webhook_id).with_for_update()
        found: Webhook | None = await self._session.scalar(webhook)
        statement = select(WebhookDelivery).where(WebhookDelivery.id == delivery_id)
        delivery = await self.deliveries.one_or_none(statement.with_for_update())
        return None if found is None or delivery is None else (found, delivery)

    async def get_with_email(self, webhook_id: int) -> tuple[Webhook, str] | None:
        """Return the webhook and its owner's email address, or None if it was deleted."""
        statement = select(Webhook, User.email).join(User, User.id == Webhook.owner_id)
        row = (await self._session.execute(statement.where(Webhook.id == webhook_id))).one_or_none()
        return row and (row[0], row[1])

    async def delete_before(self, time: datetime, limit: int) -> int:
        """Delete up to `limit` deliveries that are older, and return their number."""
        old = select(WebhookDelivery.id).where(WebhookDelivery.created_at < time).limit(limit)
        statement = delete(WebhookDelivery).where(WebhookDelivery.id.in_(old.scalar_subquery()))
        result = await self._session.scalars(statement.returning(WebhookDelivery.id))
        return len(result.all())

    async def list_after(self, after: int, limit: int) -> Sequence[Webhook]:
        """Return the webhooks after an id, in order, locked until the commit."""
        statement = select(Webhook).where(Webhook.id > after).order_by(Webhook.id).limit(limit)
        return (await self._session.scalars(statement.with_for_update())).all()
