"""The admin's pages for the queue of jobs: a failed job can run again, and any can be deleted."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import ClassVar

from starlette.requests import Request

from app.core.database.unit_of_work import UnitsOfWork
from app.core.jobs.queue import JobRepository, QueuedJob
from app.core.jobs.schedule import Schedule
from app.core.resources import resources_of
from app.core.schemas import Input, Output
from app.core.translation import mark
from app.web.admin_site.view import AdminView
from app.web.forms import Form


class JobRead(Output):
    id: int
    name: str
    arguments: list[int | str]
    created_at: datetime
    run_at: datetime
    attempts: int
    has_failed: bool
    error: str | None
    request_id: str | None


class RunAgain(Input):
    """A form without fields."""


class ScheduleRead(Output):
    name: str
    last_due_at: datetime
    finished_at: datetime | None
    duration_ms: int | None
    error: str | None


class JobAdmin(AdminView):
    model = QueuedJob
    name = "Job"
    read_schema = JobRead
    edit_schema = RunAgain
    edit_template = "admin_site/run_again.html"
    edit_label = mark("Run again")
    title_field = "name"
    can_delete = True
    columns = ("id", "name", "has_failed", "attempts", "run_at", "error")
    search_fields = ("name", "error")
    sort_fields = ("id", "name", "attempts", "run_at")
    default_sort = ("-has_failed", "run_at")
    labels: ClassVar = {"has_failed": "Failed", "run_at": "Due at"}
    filters = ("has_failed",)

    def is_editable(self, record: QueuedJob) -> bool:
        return record.has_failed

    async def edit(self, request: Request, pk: int, form: Form) -> QueuedJob:
        async with _transaction(request) as queue:
            return await queue.retry(pk)

    def version_of(self, record: QueuedJob) -> str:
        return f"{record.attempts} {record.has_failed}"

    async def delete(self, request: Request, records: Sequence[QueuedJob]) -> None:
        async with _transaction(request) as queue:
            await queue.discard([job.id for job in records])


class ScheduleAdmin(AdminView):
    model = Schedule
    read_schema = ScheduleRead
    title_field = "name"
    default_sort = ("name",)
    columns = ("name", "last_due_at", "finished_at", "duration_ms", "error")
    sort_fields = ("name", "last_due_at")


def _transaction(request: Request) -> AbstractAsyncContextManager[JobRepository]:
    return UnitsOfWork(JobRepository, resources_of(request).database).transaction()


VIEWS = [JobAdmin, ScheduleAdmin]
