import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, select, update

from app.core.database.models import utc_now
from app.core.jobs.queue import JobQueue, QueuedJob
from app.core.jobs.schedule import Schedule
from app.resources import Resources
from tests.admin import alert, delete_records

NAMES = ("greet", "wave")


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


async def stored(resources: Resources) -> list[tuple[str, bool]]:
    async with resources.database.reading() as session:
        statement = select(QueuedJob).where(QueuedJob.name.in_(NAMES)).order_by(QueuedJob.id)
        return [(job.name, job.has_failed) for job in await session.scalars(statement)]


@pytest.fixture
async def failed_job(resources: Resources) -> int:
    """Queue two jobs, and return the ID of the first, which has failed."""
    async with resources.database.transaction() as session:
        for name in NAMES:
            await JobQueue(session).enqueue(name, 7)
        values = {"has_failed": True, "error": "ValueError: <a bug>", "attempts": 1}
        await session.execute(update(QueuedJob).where(QueuedJob.name == "greet").values(values))
        return await session.scalar(select(QueuedJob.id).where(QueuedJob.has_failed)) or 0


async def test_failed_jobs_are_listed_first_with_their_error(
    admin: httpx.AsyncClient, failed_job: int
) -> None:
    text = (await admin.get("/admin/queued-job/list")).text
    assert text.index("greet") < text.index("wave")
    assert "ValueError: &lt;a bug&gt;" in text
    assert f"/admin/queued-job/edit/{failed_job}" in text
    assert f"/admin/queued-job/edit/{failed_job + 1}" not in text


async def test_failed_job_runs_again_once(
    admin: httpx.AsyncClient, resources: Resources, failed_job: int
) -> None:
    url = f"/admin/queued-job/edit/{failed_job}"
    assert "ValueError: &lt;a bug&gt;" in (await admin.get(url)).text
    response = await admin.post(url, data={"save": "Save"})
    assert response.status_code == 303, alert(response)
    assert await stored(resources) == [("greet", False), ("wave", False)]
    assert (await admin.post(url, data={"save": "Save"})).status_code == 403
    assert (await admin.get(url)).status_code == 403


async def test_deleted_job_is_not_run(
    admin: httpx.AsyncClient, resources: Resources, failed_job: int
) -> None:
    assert (await delete_records(admin, "queued-job", failed_job)).status_code == 303
    assert await stored(resources) == [("wave", False)]


async def test_schedules_are_listed_and_cannot_be_changed(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    async with resources.database.transaction() as session:
        await session.execute(insert(Schedule).values(name="clean_up", last_due_at=utc_now()))
    text = (await admin.get("/admin/schedule/list")).text
    assert "clean_up" in text
    assert "/admin/schedule/edit" not in text
    assert (await admin.post("/admin/schedule/edit/clean_up", data={})).status_code == 403
    assert (await delete_records(admin, "schedule", "clean_up")).status_code == 403
