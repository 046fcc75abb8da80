"""The dashboard: a panel for each resource, with its number, recent changes and a chart.

A slice declares in the DASHBOARD of its `pages` the dependencies that return its ResourcePages. A
panel takes up to three statements, however many records there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.core.database.models import utc_now
from app.core.database.repository import MAX_COUNT
from app.core.translation import current_zone, mark
from app.web.links import page_url
from app.web.navigation import Link
from app.web.rendering import render
from app.web.resource_pages import ResourcePages
from app.web.site import site_of

PATH = "/dashboard"
RECENT = 5
DAYS = 30


@dataclass(frozen=True, kw_only=True)
class Panel:
    label: str
    list_url: str
    new_url: str
    total: int
    recent: Sequence[tuple[str, str, datetime]]
    """The titles of the records, their URLs and the times of their changes."""
    days: Sequence[tuple[date, int]]
    """How many records were created each day. Empty if the service does not count them."""


class Dashboard:
    """The dashboard of the given panels, as a module `pages` of a slice has it."""

    LINKS = (Link(mark("Dashboard"), PATH, "members", order=0),)

    def __init__(self, panels: Sequence[Callable[..., Any]]) -> None:
        self.router = APIRouter(include_in_schema=False)
        dependencies = [Depends(adding_panel(each)) for each in panels]
        self.router.add_api_route(PATH, show_dashboard, dependencies=dependencies)


def adding_panel(get_pages: Callable[..., Any]) -> Callable[..., Any]:
    """Return the dependency that adds the panel of a resource to the page."""

    async def add_panel(
        request: Request, pages: Annotated[ResourcePages, Depends(get_pages)]
    ) -> None:
        request.scope.setdefault("panels", []).append(await panel_of(request, pages))

    return add_panel


async def show_dashboard(request: Request) -> Response:
    panels = request.scope["panels"]
    return render(request, "web/dashboard.html", panels=panels, max_count=MAX_COUNT)


async def panel_of(request: Request, pages: ResourcePages) -> Panel:
    service, site = pages.service, site_of(request)
    has_chart = hasattr(service, "count_created")
    query = pages.query.model_validate(
        {"sort": pages.recent_first, "limit": RECENT, "with_total": not has_chart}
    )
    query.limit_total(MAX_COUNT - 1)
    page = await service.list(query)
    total, days = await count(service) if has_chart else (page.total, [])
    return Panel(
        label=site.navigation.label_of(site.paths.fill(pages.list_page, {})),
        list_url=page_url(request, pages.list_page),
        new_url=page_url(request, f"show_new_{pages.name}"),
        total=total,
        recent=[
            (pages.title_of(each), pages.record_url(each), each.updated_at) for each in page.results
        ],
        days=days,
    )


async def count(service: Any) -> tuple[int, list[tuple[date, int]]]:
    """Return the number of records, and how many were created on each of the last days."""
    days = last_days(utc_now().astimezone(current_zone()).date())
    times = [starts_at(day) for day in (*days, days[-1] + timedelta(1))]
    total, created = await service.count_created(times)
    return total, list(zip(days, created, strict=True))


def last_days(today: date) -> list[date]:
    return [today - timedelta(DAYS - 1 - number) for number in range(DAYS)]


def starts_at(day: date) -> datetime:
    """Return the first moment of a day in the reader's time zone."""
    return datetime.combine(day, time(), current_zone()).astimezone(UTC)
