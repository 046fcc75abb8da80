from fastapi import APIRouter

from app.core.translation import mark
from app.features.lab.dependencies import open_lab
from app.features.lab.pages import lab, waits
from app.web.navigation import Link

NEEDS = "has_lab"
LINKS = [
    Link(
        mark("Lab"),
        "/lab",
        "anyone",
        mark("See and run the steps from a sync ORM to an async one."),
        order=4,
    )
]

router = APIRouter(include_in_schema=False, lifespan=open_lab)
router.include_router(lab.router)
router.include_router(waits.router)
