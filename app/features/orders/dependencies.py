from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.core.database.dependencies import SessionDep
from app.core.database.repository import UnitsOfWork
from app.core.database.session import Session
from app.core.jobs.queue import JobQueue
from app.core.resources import Resources, ResourcesDep
from app.core.security.principal import Principal
from app.features.orders.repository import OrderMailRepository, OrderRepository
from app.features.orders.service import OrderMails, OrderService


def build_service(session: Session, principal: Principal, resources: Resources) -> OrderService:
    orders = OrderRepository(session, principal)
    return OrderService(orders, resources.cursors, JobQueue(session))


def build_mails(resources: Resources) -> OrderMails:
    orders = UnitsOfWork(OrderMailRepository, resources.database)
    return OrderMails(orders, resources.mailer, resources.settings.public_url)


async def get_order_service(
    session: SessionDep, principal: PrincipalDep, resources: ResourcesDep
) -> OrderService:
    return build_service(session, principal, resources)


async def get_member_orders(
    session: SessionDep, member: Member, resources: ResourcesDep
) -> OrderService:
    return build_service(session, member, resources)


ReadOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:read"])]
WriteOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:write"])]
# For the pages, where the cookie names the principal.
MemberOrders = Annotated[OrderService, Depends(get_member_orders)]
