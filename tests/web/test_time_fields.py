"""Times in forms, which a user types in the time zone that the pages show them in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.core.schemas import UtcTime
from app.web.forms import RESUME, TIME, Form, get_form, serialize_form
from app.web.rendering import Templates
from app.web.time_zone import to_local_time
from tests.web.steps import read_in

SEOUL, BERLIN = ZoneInfo("Asia/Seoul"), ZoneInfo("Europe/Berlin")


class Meeting(BaseModel):
    starts_at: UtcTime
    ends_at: UtcTime | None = None


@pytest.mark.parametrize(
    ("time", "zone", "text"),
    [
        ("2026-11-27 00:30:00+00:00", SEOUL, "2026-11-27T09:30"),
        ("2026-11-27T00:30:15Z", SEOUL, "2026-11-27T09:30:15"),
        ("2026-11-27T00:30:15.250Z", SEOUL, "2026-11-27T09:30:15.250"),
        ("2026-07-01T12:00:00-05:00", BERLIN, "2026-07-01T19:00"),
        # Without its offset it would be another time.
        ("2026-10-25T00:30:00Z", BERLIN, "2026-10-25T02:30"),
        ("2026-10-25T01:30:00Z", BERLIN, "2026-10-25T02:30:00+01:00"),
        ("2026-11-27T00:30:15.250001Z", SEOUL, "2026-11-27T09:30:15.250001+09:00"),
        # Its offset in Seoul has seconds: 8:27:52.
        ("1900-01-01T00:00:00Z", SEOUL, "1900-01-01T08:27:52"),
        ("1900-01-01T00:00:00.250001Z", SEOUL, "1900-01-01T00:00:00.250001Z"),
    ],
)
def test_time_is_shown_so_that_it_is_read_as_the_same(time: str, zone: ZoneInfo, text: str) -> None:
    assert to_local_time(time, zone) == text
    assert Form({"starts_at": time}).read(Meeting) == read(text, zone)


def read(text: str, zone: ZoneInfo) -> Meeting:
    form = Form({"starts_at": text})
    form.sent_zone = zone
    return form.read(Meeting)


@pytest.mark.parametrize(
    "text", ["", "never", "2026-11-27", "2026-11-27T09:30", "9999-12-31T23:59Z"]
)
def test_text_that_is_no_time_of_the_zone_is_shown_as_it_is(text: str) -> None:
    assert to_local_time(text, SEOUL) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-02-30T09:30", TIME),
        ("2026-11-27", TIME),
        ("never", TIME),
        ("0001-01-01T00:00", "Enter a time from the year 1 to the year 9999."),
    ],
)
def test_text_that_is_no_time_is_refused(text: str, message: str) -> None:
    form = Form({"starts_at": text})
    form.sent_zone = SEOUL
    with pytest.raises(ValidationError) as caught:
        form.read(Meeting)
    form.add_error(caught.value)
    assert form.errors == {"starts_at": message}


def test_hour_that_a_clock_skips_is_read_as_the_time_after_it() -> None:
    assert read("2026-03-29T02:30", BERLIN).starts_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


async def test_sent_form_is_read_in_the_time_zone_that_it_was_opened_in() -> None:
    """The browser's time zone may have changed meanwhile."""
    form = await sent_form(starts_at="2026-11-27T09:30", form_time_zone="Asia/Seoul")
    assert form.read(Meeting).starts_at == datetime(2026, 11, 27, 0, 30, tzinfo=UTC)
    assert "form_time_zone" not in form.values
    kept = await sent_form(kept_form=serialize_form(form), query=f"{RESUME}=yes")
    assert (kept.time_zone, kept.get("starts_at")) == (SEOUL, "2026-11-27T09:30")


async def test_form_with_an_unknown_time_zone_is_read_in_that_of_the_reader() -> None:
    for name in ("", "../etc/passwd", "Nowhere/Here"):
        with read_in(SEOUL):
            form = await sent_form(starts_at="2026-11-27T09:30", form_time_zone=name)
        assert form.read(Meeting).starts_at == datetime(2026, 11, 27, 0, 30, tzinfo=UTC)


async def sent_form(query: str = "", **values: str) -> Form:
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "query_string": query.encode(),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": urlencode(values).encode()}

    return await get_form(Request(scope, receive))


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        ({}, {"type": "datetime-local", "value": ""}),
        (
            {"starts_at": "2026-11-27T00:30:00Z"},
            {"type": "datetime-local", "value": "2026-11-27T00:30"},
        ),
        (
            {"starts_at": "2026-11-27T00:30:15Z"},
            {"type": "datetime-local", "value": "2026-11-27T00:30:15", "step": "any"},
        ),
        # A browser would drop what is no local time.
        ({"starts_at": "tomorrow"}, {"type": "text", "value": "tomorrow"}),
        ({"starts_at": "2026-02-30T09:30"}, {"type": "text", "value": "2026-02-30T09:30"}),
    ],
)
def test_input_has_what_is_shown(values: dict[str, str], attributes: dict[str, str]) -> None:
    assert Form(values).time_input("starts_at") == attributes


def test_default_of_a_time_is_shown(tmp_path: Path) -> None:
    field = """{{ field(form, "at", "At", type="datetime-local", value="2026-11-27T09:30Z") }}"""
    assert 'value="2026-11-27T09:30"' in render_fields(tmp_path, field)


def test_hint_of_a_time_names_the_time_zone_too(tmp_path: Path) -> None:
    field = """{{ field(form, "at", "At", type="datetime-local", hint="Doors & bar.") }}"""
    assert ">Doors &amp; bar. Time zone: UTC</p>" in render_fields(tmp_path, field)


def render_fields(folder: Path, fields: str) -> str:
    templates = folder / "meetings/templates"
    templates.mkdir(parents=True)
    text = '{% from "web/forms.html" import field %}' + fields
    (templates / "fields.html").write_text(text)
    return Templates([templates], "USD").render("meetings/fields.html", {"form": Form()})


def test_sent_time_is_shown_as_it_was_typed() -> None:
    form = Form({"starts_at": "2026-11-27T00:30:00Z"})
    form.sent_zone = SEOUL
    assert form.time_input("starts_at") == {"type": "text", "value": "2026-11-27T00:30:00Z"}
