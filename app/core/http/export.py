"""Exports: rows as a file that is streamed while they are read.

CSV is for spreadsheets, NDJSON for programs.
"""

import asyncio
import csv
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from io import StringIO
from typing import Any, Literal, Protocol

from pydantic import TypeAdapter
from pydantic_core import to_json
from starlette.responses import StreamingResponse

from app.core.http.openapi import header_fields
from app.core.schemas import Output

ExportFormat = Literal["csv", "ndjson"]
Rows = Sequence[Any]
ROWS_PER_CHUNK = 50  # Encoding so many long rows blocks the event loop for a few milliseconds.
BYTE_ORDER_MARK = "\ufeff"  # Without it, Excel decodes the file by the system's code page.
# The characters that start a formula in spreadsheets (OWASP, "CSV Injection"), also in full width.
# A cell may begin after any separator that the spreadsheet is set to. Blanks and invisible
# characters before a formula are skipped.
SEPARATORS = r";|\t\n\v\f\r\x85\u2028\u2029"
FORMULA_STARTS = r"=+\-@\t\r\uff1d\uff0b\uff0d\uff20"
IGNORED = (
    r" \x00-\x08\x0e-\x1f\x7f-\x84\x86-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5"
    r"\u180b-\u180f\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff"
    r"\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
FORMULA = re.compile(rf"(^|[{SEPARATORS}])(?=[{IGNORED}]*[{FORMULA_STARTS}])")


class Format(Protocol):
    media_type: str

    def __init__(self, model: type[Output]) -> None: ...

    def start(self) -> bytes: ...

    def encode(self, rows: Rows) -> bytes: ...


class Csv:
    """CSV by RFC 4180. Values are written as in JSON, except that null is an empty cell."""

    media_type = "text/csv"

    def __init__(self, model: type[Output]) -> None:
        self._names = [*model.model_fields]

    def start(self) -> bytes:
        return (BYTE_ORDER_MARK + _csv([self._names])).encode()

    def encode(self, rows: Rows) -> bytes:
        cells = ([_cell(getattr(row, name)) for name in self._names] for row in rows)
        return _csv(cells).encode()


class Ndjson:
    """NDJSON. Each line is a record as the API returns it."""

    media_type = "application/x-ndjson"

    def __init__(self, model: type[Output]) -> None:
        self._adapter = TypeAdapter(list[model])  # type: ignore[valid-type]  # It is known at run time.

    def start(self) -> bytes:
        return b""

    def encode(self, rows: Rows) -> bytes:
        records = self._adapter.validate_python(rows, from_attributes=True)
        return b"".join(to_json(record) + b"\n" for record in records)


FORMATS: dict[ExportFormat, type[Format]] = {"csv": Csv, "ndjson": Ndjson}
EXPORT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A file",
        "headers": header_fields("Content-Disposition"),
        "content": {
            format_.media_type: {"schema": {"type": "string"}} for format_ in FORMATS.values()
        },
    }
}


async def export(
    pages: AsyncIterator[Rows], model: type[Output], format_: ExportFormat, name: str
) -> StreamingResponse:
    """Return a response that streams the rows of the pages, with the fields of a schema.

    The first page is awaited here, so that an error in it gets an ordinary error response. A later
    error closes the connection, so that an incomplete file does not look complete.
    """
    first = await anext(pages, None)
    writer = FORMATS[format_](model)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format_}"'}
    content = _content(writer, first, pages)
    return StreamingResponse(content, headers=headers, media_type=writer.media_type)


async def _content(
    writer: Format, rows: Rows | None, pages: AsyncIterator[Rows]
) -> AsyncIterator[bytes]:
    yield writer.start()
    while rows:
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            yield writer.encode(rows[start : start + ROWS_PER_CHUNK])
            await asyncio.sleep(0)  # Let other requests run.
        rows = None  # Free its memory before the next page is read.
        rows = await anext(pages, None)


def _csv(lines: Iterable[Sequence[str]]) -> str:
    text = StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return FORMULA.sub(r"\1'", value)
    return "" if value is None else to_json(value).decode().strip('"')
