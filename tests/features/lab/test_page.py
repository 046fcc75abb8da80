"""The page of the lab: permissions, and the events that it streams."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI

from app.features.lab.pages import lab as page
from app.features.lab.pages import waits
from app.features.lab.schemas import Progress
from app.features.lab.service import runner, runs
from app.features.lab.service.load import Connection
from app.features.lab.service.runs import Runs
from app.features.lab.service.vitals import Vitals
from tests.conftest import Person, browser_of, make_settings, only, running, sign_in
from tests.features.lab.steps import Measure
from tests.isolation import DEADLINE_SECONDS
from tests.sockets import scope_of
from tests.waiting import run_pending_tasks

RUN = "/lab/run"
WAITS = ["block_loop", "await_sleep", "plain_def", "call_in_thread", "fill_threads"]


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(database_url, lab_enabled=True)) as app:
        app.state.resources.settings.environment = "local"  # Local users have permission.
        yield app


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Replace the measurement, which takes long."""
    measure = Measure(OSError("The disk is full."))
    monkeypatch.setattr(runs, "measure", measure)
    return measure


def lab_runs(app: FastAPI) -> Runs:
    found: Runs = app.state.lab.runs
    return found


def news(response: httpx.Response) -> list[tuple[str, str]]:
    """Parse the events: their names and data."""
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = []
    for text in response.text.split("\n\n"):
        fields = [line.partition(": ")[::2] for line in text.splitlines()]
        data = "\n".join(value for name, value in fields if name == "data")
        events += [(value, data) for name, value in fields if name == "event"]
    return events


@only("sqlite")
async def test_page_shows_the_steps_without_a_script(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/lab")
    assert response.status_code == 200
    assert '<a href="/lab" aria-current="page">Lab</a>' in response.text
    for words in (
        "Step 1, the sync start",
        "Step 4, the goal",
        "step2_trap.py",
        "items, 100 clients",
    ):
        assert words in response.text
    text = re.sub("<[^>]+>", "", response.text)
    assert "async def list_items(engine: EngineDep) -&gt; list[ItemRead]:" in text
    marks = [
        re.sub("<[^>]+>", "", mark) for mark in re.findall("(?s)<mark>.*?</mark>", response.text)
    ]
    assert len(marks) == 5 + 8 + 24  # These are in steps 2, 3 and 4.
    assert "return await session.run_sync(step1_sync.items_by_owner)" in "".join(marks)
    for action in (RUN, *(f"/lab/{name}" for name in WAITS)):
        assert f'method="post" action="{action}"' in response.text
    own = re.findall(r'"(/static/lab[^"]+)"', response.text)
    assert [(await browser.get(path)).status_code for path in own] == [200, 200]


@only("sqlite")
async def test_lab_is_for_superusers_and_local_users(
    app: FastAPI,
    measure: Measure,
    ann: Person,
    root: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waits, "SECONDS", 0)

    async def has_access(person: Person | None, address: str) -> bool:
        async with browser_of(app) as browser:
            browser._transport = httpx.ASGITransport(app, client=(address, 123))
            if person:
                await sign_in(browser, person)
            page = await browser.get("/lab")
            assert page.status_code == 200
            is_allowed = 'action="/lab' in page.text
            assert is_allowed == ("data-news" in page.text)
            responses = [
                await browser.post(f"/lab/{name}") for name in WAITS if name != "block_loop"
            ]
            if not is_allowed:
                responses += [
                    await browser.post("/lab/block_loop"),
                    await browser.post(RUN),
                    await browser.get(f"{RUN}/news"),
                    await browser.get(f"{RUN}/vitals"),
                ]
                assert "<h1>Access denied</h1>" in responses[-1].text
                assert "superusers" in responses[-1].text
            assert {each.status_code for each in responses} == {303 if is_allowed else 403}
        return is_allowed

    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert await has_access(None, address)
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%lo", "of a Unix socket"):
        assert not await has_access(None, address)
    assert not await has_access(ann, "192.0.2.1")
    assert await has_access(root, "192.0.2.1")
    monkeypatch.setattr(app.state.resources.settings, "environment", "production")
    assert not await has_access(ann, "127.0.0.1")  # It may be the address of a proxy.
    assert await has_access(root, "127.0.0.1")


@only("sqlite")
async def test_form_of_another_site_returns_403(browser: httpx.AsyncClient) -> None:
    for path in (RUN, "/lab/block_loop"):
        response = await browser.post(path, headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 403


@only("sqlite")
async def test_second_run_returns_409(
    app: FastAPI, browser: httpx.AsyncClient, measure: Measure, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = await browser.post(RUN, data={"query_ms": "much"})
    assert (wrong.status_code, 'aria-invalid="true"' in wrong.text) == (422, True)
    first = await browser.post(RUN, data={"query_ms": "7"})
    assert (first.status_code, first.headers["Location"]) == (303, "/lab#figures")
    second = await browser.post(RUN)
    assert second.status_code == 409
    assert "The lab is running already." in second.text
    assert "Each query waits 7 ms" in second.text
    assert "<button disabled>" in second.text
    measure.may_continue.set()
    events = news(await browser.get(f"{RUN}/news"))
    assert [name for name, _ in events] == ["status", "chart"] * 2 + ["end"]
    after = await browser.get("/lab")
    assert "The run failed." in after.text
    assert "The disk is full" not in after.text
    assert "Measured <time" in after.text  # The previous results are shown.
    assert (await browser.post(RUN)).status_code == 303


@only("sqlite")
@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.slow("it starts a server for each step")
async def test_progress_of_a_run_is_streamed(
    app: FastAPI, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "SECONDS", 0.1)
    monkeypatch.setattr(page, "CLIENTS", [3])
    monkeypatch.setattr(runner, "STEPS", {"step4": "async"})
    await browser.post(RUN, data={"query_ms": "1"})
    events = news(await browser.get(f"{RUN}/news"))
    progress = [data for name, data in events if name == "status"]
    assert "items, 3 clients (1 of 2)" in progress[0]
    assert any("report, 1 client (2 of 2)" in each for each in progress)
    charts = [data for name, data in events if name == "chart"]
    assert [chart.count("<span>") for chart in (charts[0], charts[-1])] == [0, 4]
    assert events[-1] == ("end", "end")
    shown = await browser.get("/lab")
    assert "items, 3 clients" in shown.text
    assert 'data-news="/lab/run/news"' not in shown.text
    await lab_runs(app).close()


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.slow("it starts a server for each step")
async def test_shutdown_ends_the_run(
    app: FastAPI, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, measures = Connection.request, asyncio.Event()

    async def record_and_ask(connection: Connection, method: str, path: str) -> tuple[int, bytes]:
        if path == "/lab/light":
            measures.set()
        return await ask(connection, method, path)

    monkeypatch.setattr(Connection, "request", record_and_ask)
    await browser.post(RUN)
    run = lab_runs(app).current
    assert run
    assert isinstance(await anext(run.watch()), Progress)  # The server has started.
    paths = ("news", "vitals")
    watching = [asyncio.create_task(browser.get(f"{RUN}/{path}")) for path in paths]
    await asyncio.wait_for(measures.wait(), DEADLINE_SECONDS)
    for _ in range(10):  # Stop again during the cleanup.
        app.state.lab.stop()
        await run_pending_tasks()
    for response in await asyncio.wait_for(asyncio.gather(*watching), DEADLINE_SECONDS):
        assert response.status_code == 200
    assert run.failure == "The run was canceled."
    await asyncio.wait_for(lab_runs(app).close(), DEADLINE_SECONDS)


@only("sqlite")
async def test_run_continues_when_its_clients_disconnect(
    app: FastAPI, measure: Measure, browser: httpx.AsyncClient
) -> None:
    await browser.post(RUN)
    tasks = asyncio.all_tasks()
    for path in ("news", "vitals"):
        await asyncio.wait_for(read_and_disconnect(app, f"{RUN}/{path}"), DEADLINE_SECONDS)
    assert asyncio.all_tasks() <= tasks
    assert lab_runs(app).is_running
    assert not measure.is_canceled


async def read_and_disconnect(app: FastAPI, path: str) -> None:
    came = asyncio.Event()
    sent = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await came.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            came.set()

    scope = {**scope_of(path, {}, []), "type": "http", "method": "GET", "scheme": "http"}
    await app(scope, receive, send)


@only("sqlite")
async def test_vitals_show_each_wait(
    app: FastAPI,
    browser: httpx.AsyncClient,
    blocking_detector: BlockBuster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocking_detector.functions["time.sleep"].can_block_in(
        "app/features/lab/pages/waits.py", "block_loop"  # It blocks the loop on purpose.
    )  # fmt: skip
    monkeypatch.setattr(waits, "SECONDS", 0.1)

    async def seen(name: str, threads: int = 0, waiting: int = 0) -> list[int]:
        """Return the highest lag, and the most threads that were used and waited for.

        Calls in threads wait until as many threads as expected are used.
        """
        is_watched, are_seen = asyncio.Event(), threading.Event()

        class Watched(Vitals):
            async def _tick(self) -> None:
                await super()._tick()
                is_watched.set()
                if (self._threads, self._waiting) == (threads, waiting):
                    are_seen.set()

        monkeypatch.setattr(page, "Vitals", Watched)
        if threads:
            sleep = SimpleNamespace(sleep=lambda _: are_seen.wait(DEADLINE_SECONDS))
            monkeypatch.setattr(waits, "time", sleep)
        app.state.lab.is_stopping.clear()
        watching = asyncio.create_task(browser.get(f"{RUN}/vitals"))
        await asyncio.wait_for(is_watched.wait(), DEADLINE_SECONDS)
        response = await browser.post(f"/lab/{name}")
        assert (response.status_code, response.headers["Location"]) == (303, "/lab#loop")
        app.state.lab.is_stopping.set()
        progress = "".join(data for _, data in news(await watching))
        patterns = (r">(\d+)</strong> ms", r">(\d+)</strong> of 40", r">(\d+)</strong> wait")
        return [max(map(int, re.findall(each, progress)), default=0) for each in patterns]

    lag, *threads = await seen("block_loop")
    assert lag > 80  # The loop was blocked for 100 ms.
    assert threads == [0, 0]
    assert (await seen("await_sleep"))[1:] == [0, 0]
    assert (await seen("plain_def", 1))[1:] == [1, 0]
    assert (await seen("call_in_thread", 1))[1:] == [1, 0]
    assert (await seen("fill_threads", 40, 20))[1:] == [40, 20]


@only("sqlite")
@pytest.mark.parametrize("path", ["/lab", f"{RUN}/news", f"{RUN}/vitals"])
async def test_head_returns_no_body(browser: httpx.AsyncClient, path: str) -> None:
    response = await browser.head(path)
    assert (response.status_code, response.content) == (200, b"")


@only("sqlite")
async def test_disabled_lab_returns_404(database_url: str) -> None:
    settings = make_settings(database_url, lab_enabled=False)
    async with running(settings) as app, browser_of(app) as browser:
        assert "/lab" not in (await browser.get("/")).text
        for path in ("/lab", f"{RUN}/news"):
            assert (await browser.get(path)).status_code == 404
        assert (await browser.post("/lab/block_loop")).status_code == 404
