from fastapi import APIRouter

from app.core.translation import mark
from app.features.orders.pages import drafting, viewing
from app.web.navigation import Link

LINKS = [Link(mark("Orders"), "/orders", "members", order=2)]
DASHBOARD = viewing.DASHBOARD

router = APIRouter(include_in_schema=False)
router.include_router(drafting.router)
router.include_router(viewing.router)
