from functools import partial
from typing import Annotated

from fastapi import Depends, Request, Security
from starlette.datastructures import State

from app.accounts.dependencies import Member, PrincipalDep
from app.core.database.dependencies import SessionDep
from app.core.database.repository import UnitsOfWork
from app.core.database.session import Session
from app.core.security.principal import Principal
from app.features.orders.repository import OrderMailRepository, OrderRepository
from app.features.orders.service import OrderMails, OrderPlacement, OrderService


def build_service(session: Session, principal: Principal, state: State) -> OrderService:
    return OrderService(OrderRepository(session, principal), state.cursors)


def build_placement(principal: Principal, state: State) -> OrderPlacement:
    repositories = partial(OrderRepository, principal=principal)
    return OrderPlacement(UnitsOfWork(repositories, state.database), state.cursors, state.jobs)


def build_mails(state: State) -> OrderMails:
    orders = UnitsOfWork(OrderMailRepository, state.database)
    return OrderMails(orders, state.mailer, state.settings.public_url)


async def get_order_service(
    session: SessionDep, principal: PrincipalDep, request: Request
) -> OrderService:
    return build_service(session, principal, request.app.state)


async def get_order_placement(principal: PrincipalDep, request: Request) -> OrderPlacement:
    return build_placement(principal, request.app.state)


async def get_member_orders(session: SessionDep, member: Member, request: Request) -> OrderService:
    return build_service(session, member, request.app.state)


async def get_member_placement(member: Member, request: Request) -> OrderPlacement:
    return build_placement(member, request.app.state)


ReadOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:read"])]
WriteOrders = Annotated[OrderService, Security(get_order_service, scopes=["orders:write"])]
PlaceOrders = Annotated[OrderPlacement, Security(get_order_placement, scopes=["orders:write"])]
# For the pages, where the cookie names the principal.
MemberOrders = Annotated[OrderService, Depends(get_member_orders)]
PlaceMemberOrders = Annotated[OrderPlacement, Depends(get_member_placement)]
