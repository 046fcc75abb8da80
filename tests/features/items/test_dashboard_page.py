"""The dashboard, with the panel of items, and the reader's time zone."""

import re
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from app.core.database.models import utc_now
from app.features.items.models import Item
from app.web import dashboard
from tests.conftest import Person, counted_statements, sign_in
from tests.features.items.steps import LAMP, make_item

ITEMS = "/api/v1/items"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


@pytest.fixture
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "utc_now", lambda: NOON)


def table(page: httpx.Response) -> dict[str, int]:
    """Return the rows of the chart's table of items that are not zero."""
    sections = re.findall("(?s)<section.*?</section>", page.text)
    (panel,) = [each for each in sections if '<a href="/items">' in each]
    row = r'<th scope="row"><time datetime="[\d-]+">(.*?)</time></th><td class="price">(\d+)</td>'
    rows = re.findall(row, panel)
    assert len(rows) == dashboard.DAYS
    return {day: int(number) for day, number in rows if number != "0"}


async def add_item(app: FastAPI, owner: Person, created_at: datetime) -> None:
    async with app.state.resources.database.transaction() as session:
        session.add(
            Item(
                name="Lamp",
                price=1,
                owner_id=owner.id,
                created_at=created_at,
                updated_at=created_at,
            )
        )


async def test_sign_in_leads_to_the_dashboard(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/")).headers["Location"] == "/dashboard"
    page = await browser.get("/dashboard")
    assert '<a href="/dashboard" aria-current="page">Dashboard</a>' in page.text
    assert 'href="/items/new">Create the first one</a>' in page.text


async def test_visitor_is_led_to_the_sign_in(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard", headers={"Accept": "text/html"})
    assert page.headers["Location"] == "/login?next=/dashboard"


async def test_panel_shows_own_items_with_the_recent_ones(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await make_item(bob, name="A secret")
    items = [await make_item(ann, name=f"Lamp {n}") for n in range(7)]
    await ann.client.patch(f"{ITEMS}/{items[0]['id']}", json={"name": "Desk"})
    page = await browser.get("/dashboard")
    assert '<strong class="count">7</strong>' in page.text
    recent = re.findall(r'href="(/items/\d+)/edit" dir="auto">(.*?)</a>', page.text)
    assert [title for _, title in recent] == ["Desk", "Lamp 6", "Lamp 5", "Lamp 4", "Lamp 3"]
    assert recent[0][0] == f"/items/{items[0]['id']}"
    assert sum(table(page).values()) == 7
    assert "A secret" not in page.text


async def test_statements_do_not_grow_with_the_items(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await ann.client.post(f"{ITEMS}/batch", json=[LAMP] * 30)
    async with counted_statements(app) as statements:
        await browser.get("/dashboard")
    assert len([each for each in statements if "FROM items" in each]) == 2


@pytest.mark.usefixtures("_fixed_time")
async def test_chart_counts_the_days_of_the_readers_time_zone(
    browser: httpx.AsyncClient, ann: Person, app: FastAPI
) -> None:
    for created_at in (
        datetime(2026, 10, 1, tzinfo=UTC),  # too old
        datetime(2026, 11, 26, 14, 59, tzinfo=UTC),  # 23:59 in Seoul
        datetime(2026, 11, 26, 15, tzinfo=UTC),  # midnight in Seoul
        datetime(2026, 11, 27, 11, tzinfo=UTC),
    ):
        await add_item(app, ann, created_at)
    page = await browser.get("/dashboard")
    assert table(page) == {"Nov 26, 2026": 2, "Nov 27, 2026": 1}
    assert "from Oct 29, 2026 to Nov 27, 2026: 3 in all, at most 2 a day." in page.text
    browser.cookies.set("time_zone", "Asia/Seoul")
    page = await browser.get("/dashboard")
    assert table(page) == {"Nov 26, 2026": 1, "Nov 27, 2026": 2}


async def test_times_are_in_the_readers_time_zone(
    browser: httpx.AsyncClient, ann: Person, app: FastAPI
) -> None:
    await add_item(app, ann, NOON)
    browser.cookies.set("time_zone", "America/New_York")
    assert ">Nov 27, 2026, 7:00\u202fAM</time>" in (await browser.get("/items")).text


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "x" * 5000, "UTC\x00", "posix"]
)
async def test_unknown_time_zone_is_utc(
    browser: httpx.AsyncClient, ann: Person, app: FastAPI, zone: str
) -> None:
    await add_item(app, ann, NOON)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Cookie": f"{cookie}; time_zone={zone}"}
    page = await browser.get("/items", headers=headers)
    assert page.status_code == 200
    assert ">Nov 27, 2026, 12:00\u202fPM UTC</time>" in page.text


def test_days_end_today() -> None:
    days = dashboard.last_days(utc_now().date())
    assert (len(days), days[-1]) == (dashboard.DAYS, utc_now().date())
