from fastapi import APIRouter

from app.features.orders.pages import drafting, listing, viewing
from app.web.navigation import Link

LINKS = [Link("Orders", "/orders", "members", order=2)]

router = APIRouter(include_in_schema=False)
for module in (listing, drafting, viewing):
    router.include_router(module.router)
