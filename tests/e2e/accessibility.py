"""Checks the accessibility of a page with axe-core, and in a narrow window."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

axe = Axe()  # The debugger runs its script, despite the policy.


def check_accessibility(page: Page) -> None:
    """Check that a page fits its window, and is accessible in both color schemes."""
    width, window_width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window_width, page.url
    page.emulate_media(color_scheme="light")
    assert serious_violations(page) == [], page.url
    page.emulate_media(color_scheme="dark")
    assert serious_violations(page, runOnly=["color-contrast"]) == [], page.url


def serious_violations(
    page: Page, context: dict[str, Any] | None = None, **options: Any
) -> list[tuple[str, str]]:
    """Format the violations: the rule and the element."""
    found = axe.run(page, context, {"resultTypes": ["violations"], **options}).response
    return [
        (violation["id"], node["html"])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
