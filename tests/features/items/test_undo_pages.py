"""The undo of deletions."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Executable, func, select, update

from app.accounts.models import UndoRecord, User
from app.accounts.undo import UndoRepository
from app.core.database.models import utc_now
from app.features.items.events import ItemEvent
from tests.conftest import PASSWORD, Person, browser_of, delete_account, only, sign_in
from tests.features.items.steps import ITEMS, make_item
from tests.forms import form_of
from tests.waiting import until_blocked

UNDO = "/items/undo-delete"
EXPIRED = "This deletion can no longer be undone."
CONFLICT = "This cannot be restored"


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def stored(person: Person) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await person.client.get(ITEMS)).json()["results"]
    return items


async def delete(browser: httpx.AsyncClient, *items: dict[str, Any]) -> dict[str, str]:
    """Delete items on their page, and return the form that undoes it."""
    path, form = f"/items/{items[0]['id']}/delete", {"version": str(items[0]["version"])}
    if len(items) > 1:
        path = "/items/delete"
        form = {f"select-{item['id']}": str(item["version"]) for item in items}
    assert (await browser.post(path, data=form)).status_code == 303
    page = await browser.get("/items")
    assert f'action="{UNDO}"' in page.text
    return form_of(page)


async def undo(browser: httpx.AsyncClient, form: dict[str, str]) -> str:
    """Send the form, and return the page that it leads to."""
    undone = await browser.post(UNDO, data=form)
    assert (undone.status_code, undone.headers["Location"]) == (303, "/items")
    return (await browser.get("/items")).text


async def run(app: FastAPI, statement: Executable) -> Any:
    async with app.state.resources.database.transaction() as session:
        return await session.execute(statement)


def restored(item: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what an item is after its deletion is undone."""
    return item | {"version": item["version"] + 1, "updated_at": now["updated_at"]}


async def test_deleted_item_is_restored(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann, name="가 é", description="x" * 10_000, price="0.10", is_offer=True)
    published = list[str]()
    with app.state.resources.broadcast.subscribed(ItemEvent.topic_of(ann.id), published.append):
        form = await delete(browser, item)
        assert await stored(ann) == []
        assert "Restored." in await undo(browser, form)
    (now,) = await stored(ann)
    assert now == restored(item, now)
    assert now["updated_at"] > item["updated_at"]
    deleted = {"type": "item.deleted", "item_id": item["id"], "version": 1}
    created = deleted | {"type": "item.created", "version": 2}
    assert [*map(json.loads, published)] == [deleted, created]


async def test_selected_items_are_restored(browser: httpx.AsyncClient, ann: Person) -> None:
    items = [await make_item(ann, name=name) for name in ("Lamp", "Desk", "Chair")]
    form = await delete(browser, items[2], items[0])
    assert await stored(ann) == [items[1]]
    await undo(browser, form)
    lamp, desk, chair = await stored(ann)
    assert (lamp, desk, chair) == (
        restored(items[0], lamp),
        items[1],
        restored(items[2], chair),
    )


async def test_undo_sent_twice_at_once_restores_once(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    form = await delete(browser, await make_item(ann))
    undone = await asyncio.gather(*(browser.post(UNDO, data=form) for _ in range(2)))
    assert [each.status_code for each in undone] == [303, 303]
    assert "Restored." in (await browser.get("/items")).text
    assert len(await stored(ann)) == 1
    # The copies are gone.
    assert (await run(app, select(UndoRecord.rows))).scalars().all() == [[]]


async def test_restored_item_that_is_deleted_again_stays_deleted(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    form = await delete(browser, await make_item(ann))
    await undo(browser, form)
    second = await delete(browser, *await stored(ann))
    await undo(browser, form)
    assert await stored(ann) == []
    await undo(browser, second)
    assert [each["version"] for each in await stored(ann)] == [3]


async def test_undo_of_another_user_restores_nothing(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    form = await delete(browser, await make_item(ann))
    async with browser_of(app) as others:
        await sign_in(others, bob)
        assert EXPIRED in await undo(others, form)
    assert (await stored(ann), await stored(bob)) == ([], [])
    assert "Restored." in await undo(browser, form)


async def test_deletion_is_undone_for_an_hour(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    form = await delete(browser, await make_item(ann))
    (expires_at,) = (await run(app, select(UndoRecord.expires_at))).scalars()
    assert timedelta(minutes=59) < expires_at - utc_now() <= timedelta(hours=1)
    await run(app, update(UndoRecord).values(expires_at=utc_now()))
    assert EXPIRED in await undo(browser, form)
    assert await stored(ann) == []
    assert await app.state.resources.accounts.auth.clean_up() == 1
    assert (await run(app, select(func.count(UndoRecord.id)))).scalar() == 0


@pytest.mark.parametrize("undo_id", ["", "7", "\x00", "0" * 32])
async def test_undo_of_an_unknown_deletion_is_refused(
    browser: httpx.AsyncClient, undo_id: str
) -> None:
    assert EXPIRED in await undo(browser, {"undo_id": undo_id})


async def test_conflict_leaves_no_copies(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"price": "7"})
    refused = await browser.post(f"/items/{item['id']}/delete", data={"version": "1"})
    assert refused.status_code == 409
    assert (await run(app, select(func.count(UndoRecord.id)))).scalar() == 0


@only("sqlite")
async def test_item_whose_id_is_taken_gets_another_id(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    items = [await make_item(ann, name=name) for name in ("Lamp", "Desk")]
    form = await delete(browser, *items)
    chair = await make_item(ann, name="Chair")
    assert chair["id"] == items[0]["id"]
    await undo(browser, form)
    names = {each["name"]: each["id"] for each in await stored(ann)}
    assert names == {"Chair": chair["id"], "Desk": items[1]["id"], "Lamp": items[1]["id"] + 1}


async def test_superuser_restores_the_item_of_its_owner(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    form = await delete(admin, item)
    published = list[str]()
    with app.state.resources.broadcast.subscribed(ItemEvent.topic_of(ann.id), published.append):
        await undo(admin, form)
    assert [json.loads(event)["type"] for event in published] == ["item.created"]
    (now,) = await stored(ann)
    assert now == restored(item, now)


async def test_former_superuser_restores_no_item_of_others(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    form = await delete(admin, await make_item(ann))
    users = update(User).where(User.id == root.id)
    await run(app, users.values(is_superuser=False))
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        assert EXPIRED in await undo(browser, form)
    assert await stored(ann) == []


async def test_item_of_a_deleted_account_is_not_restored(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    form = await delete(admin, await make_item(ann))
    assert (await delete_account(ann)).status_code == 204
    for _ in range(2):
        assert CONFLICT in await undo(admin, form)


async def test_copies_are_deleted_with_the_account(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await delete(browser, await make_item(ann))
    assert (await delete_account(ann)).status_code == 204
    assert (await run(app, select(func.count(UndoRecord.id)))).scalar() == 0


async def test_deletion_is_undone_after_the_session_has_ended(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    form = await delete(browser, await make_item(ann))
    await browser.post("/logout")
    asked = await browser.post(UNDO, data=form)
    sign_in_form = form_of(asked) | {"email": ann.email, "password": PASSWORD}
    signed_in = await browser.post("/login", data=sign_in_form)
    undone = await browser.post(signed_in.headers["Location"], data=sign_in_form)
    assert undone.headers["Location"] == "/items"
    assert len(await stored(ann)) == 1


@only("postgresql")
@pytest.mark.parametrize("step", ["save", "take"])
async def test_undo_and_the_deletion_of_the_account_wait_for_each_other(
    app: FastAPI,
    browser: httpx.AsyncClient,
    ann: Person,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    item = await make_item(ann)
    path, form = f"/items/{item['id']}/delete", {"version": "1"}
    if step == "take":
        path, form = UNDO, await delete(browser, item)
    do, begun = getattr(UndoRepository, step), asyncio.Event()

    async def do_later(*arguments: Any) -> Any:
        begun.set()
        await until_blocked(app)
        return await do(*arguments)

    monkeypatch.setattr(UndoRepository, step, do_later)
    changing = asyncio.create_task(browser.post(path, data=form))
    await begun.wait()
    deleting = asyncio.create_task(delete_account(ann))
    assert ((await changing).status_code, (await deleting).status_code) == (303, 204)
