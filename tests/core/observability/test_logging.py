"""Tests that no log line is lost, and that extra fields are written."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.config import Settings
from app.core.observability.logging import AppHandler, JsonFormatter, configure_logging
from tests.waiting import eventually_async


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Yield a logger without handlers, to which a test adds its own."""
    logger = logging.getLogger("tests.logging")
    logger.propagate, level = False, logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(level)
    logger.propagate = True
    logger.handlers.clear()


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def json_lines(logger: logging.Logger, message: str, **options: Any) -> dict[str, Any]:
    stream = io.StringIO()
    handler = AppHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.info(message, **options)
    line: dict[str, Any] = json.loads(stream.getvalue())
    return line


@pytest.mark.usefixtures("restored_logging")
def test_lines_of_a_replaced_handler_are_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def migrate() -> None:
        logging.getLogger("alembic").info("Running upgrade")

    configure_logging(Settings())
    asyncio.run(migrate())
    configure_logging(Settings())
    assert "Running upgrade" in capsys.readouterr().out


def test_lines_of_a_closed_loop_are_written_on_the_next_loop(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(AppHandler(stream))

    async def write(line: str) -> None:
        logger.info(line)

    async def write_and_wait() -> None:
        logger.info("second")
        await eventually_async(lambda: asyncio.sleep(0, "second" in stream.getvalue()))

    asyncio.run(write("first"))
    asyncio.run(write_and_wait())
    assert stream.getvalue() == "first\nsecond\n"


def test_unencodable_character_is_escaped() -> None:
    raw = io.BytesIO()
    handler = AppHandler(io.TextIOWrapper(raw, "ascii"))

    async def write() -> None:
        for line in ("before", "Büro \ud800", "after"):
            # Not by a logger: pytest captures its lines, and xdist cannot send this one.
            handler.handle(logging.makeLogRecord({"msg": line}))

    asyncio.run(write())
    handler.flush()
    assert raw.getvalue().decode() == "before\nB\\xfcro \\ud800\nafter\n"


def test_extra_fields_are_written_to_json(logger: logging.Logger) -> None:
    line = json_lines(logger, "Paid", extra={"order_id": 7, "tags": ["a"], "by": sys})
    assert (line["message"], line["order_id"], line["tags"]) == ("Paid", 7, ["a"])
    assert line["by"] == str(sys)
    assert set(line) == {
        "time", "level", "logger", "request_id", "message", "order_id", "tags", "by"
    }  # fmt: skip


def test_extra_field_does_not_replace_a_standard_field(logger: logging.Logger) -> None:
    assert json_lines(logger, "Paid", extra={"level": "high"})["level"] == "INFO"


@pytest.mark.parametrize("value", ["\ud800", b"\xff", float("nan")])
def test_unserializable_value_does_not_lose_the_line(logger: logging.Logger, value: Any) -> None:
    assert json_lines(logger, "Paid", extra={"value": value})["message"] == "Paid"


@pytest.mark.usefixtures("restored_logging")
def test_header_fields_of_a_handshake_are_not_logged_at_debug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server's library logs them there, cookies and tokens included."""
    configure_logging(Settings(log_level="DEBUG"))
    server = logging.getLogger("uvicorn.error")
    server.debug("< Cookie: auth_session=secret")
    server.warning("Shown")
    logging.getLogger("tests").debug("Shown, too")
    output = capsys.readouterr().out
    assert "secret" not in output
    assert "Shown" in output
    assert "Shown, too" in output
