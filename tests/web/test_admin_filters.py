"""Filters of the admin's lists, which users type as the pages show values."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import false

from app.core.jobs.queue import QueuedJob
from app.core.schemas import UtcTime
from app.web.admin_site.filters import AdminFilter
from tests.web.steps import read_in

SEOUL = ZoneInfo("Asia/Seoul")


@pytest.mark.parametrize("type_", [UtcTime, datetime])  # as schemas of forms and of pages have it
def test_list_is_filtered_by_a_time_of_the_reader(type_: Any) -> None:
    filter_ = AdminFilter("run_at", "Due at", QueuedJob.run_at, type_)
    params = {"run_at": "2026-11-27T09:30", "run_at_op": "less_than"}
    with read_in(SEOUL):
        condition = filter_.condition(params)
        words = filter_.describe(params).replace("\u202f", " ")
    assert condition is not None
    assert condition.compile().params == {"run_at_1": datetime(2026, 11, 27, 0, 30, tzinfo=UTC)}
    assert words == "Is less than Nov 27, 2026, 9:30 AM"
    for text in ("never", "0001-01-01T00:00", "9999-12-31T23:59-12:00"):
        with read_in(SEOUL):
            condition = filter_.condition({"run_at": text})
            assert filter_.describe({"run_at": text}) == f"Is {text}"
        assert condition is not None
        assert condition.compare(false())
