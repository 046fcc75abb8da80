from fastapi import APIRouter

from app.features.items.pages import editing, listing
from app.web.navigation import Link

LINKS = [Link("Items", "/items", "members", order=1)]

router = APIRouter(include_in_schema=False)
router.include_router(listing.router)
router.include_router(editing.router)
