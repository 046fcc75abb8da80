"""Checks the accessibility of a page with axe-core, and in a narrow window."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

axe = Axe()  # its script is run by the debugger, which the policy allows


def check_room_and_schemes(page: Page) -> None:
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, page.url
    page.emulate_media(color_scheme="light")
    assert serious(page) == [], page.url
    page.emulate_media(color_scheme="dark")
    assert serious(page, runOnly=["color-contrast"]) == [], page.url


def serious(page: Page, **options: Any) -> list[tuple[str, str]]:
    """Format the violations: the rule and the element."""
    found = axe.run(page, options={"resultTypes": ["violations"], **options}).response
    return [
        (violation["id"], node["html"])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
