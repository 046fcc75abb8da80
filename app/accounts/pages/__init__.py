from fastapi import APIRouter

from app.accounts.pages import (
    account,
    api_keys,
    confirm,
    mail_links,
    picture,
    second_factor,
    sign_in,
    sign_in_code,
)
from app.core.translation import mark
from app.web.navigation import Link

LINKS = [
    Link(mark("Account"), "/account", "members", order=8, place="menu"),
    Link(mark("Sign out"), "/logout", "members", order=11, place="menu", is_button=True),
    Link(mark("Sign in"), "/login", "guests", order=10),
    Link(mark("Sign up"), "/signup", "guests", order=11, needs="signup_enabled"),
]

router = APIRouter(include_in_schema=False)
router.include_router(sign_in.router)
router.include_router(sign_in_code.router)
router.include_router(mail_links.router)
router.include_router(account.router)
router.include_router(picture.router)
router.include_router(api_keys.router)
router.include_router(second_factor.router)
router.include_router(confirm.router)
