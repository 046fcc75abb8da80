from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.core.database.dependencies import SessionDep
from app.core.database.events import Events
from app.core.database.unit_of_work import UnitsOfWork
from app.core.jobs.queue import JobQueue
from app.core.resources import Resources, ResourcesDep
from app.features.orders.repository import OrderMailRepository, OrderRepository
from app.features.orders.service import OrderMails, OrderService


async def get_order_service(
    session: SessionDep, principal: PrincipalDep, resources: ResourcesDep
) -> OrderService:
    """Build the service for a request of the API, with an access token."""
    orders = OrderRepository(session, principal)
    return OrderService(orders, resources.cursors, JobQueue(session), Events(session))


async def get_member_orders(
    session: SessionDep, member: Member, resources: ResourcesDep
) -> OrderService:
    """Build the service for a page, whose user is signed in by a cookie."""
    return await get_order_service(session, member, resources)


def build_mails(resources: Resources) -> OrderMails:
    orders = UnitsOfWork(OrderMailRepository, resources.database)
    return OrderMails(orders, resources.mailer, resources.settings.site_url)


ReadOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:read"])]
WriteOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:write"])]
MemberOrders = Annotated[OrderService, Depends(get_member_orders)]
