"""Logging to standard output: one line for each record, with the ID of its request."""

import asyncio
import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from pydantic_core import to_json

from app.core.config import Settings
from app.core.context import request_id_var

WRITE_SECONDS = 0.1
# What each record has. The rest is what was given as `extra`, but for uvicorn's colors.
RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        given = record.__dict__
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": given.get("request_id"),
            "message": record.getMessage(),
        }
        for name, value in given.items():
            if name not in RECORD_FIELDS:
                line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return to_json(line, fallback=str, inf_nan_mode="strings").decode()
        except ValueError:  # a lone surrogate, bytes that are no UTF-8
            return json.dumps(line, default=str, skipkeys=True)


class ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        given = record.__dict__
        message = record.getMessage()
        if "duration_ms" in given:
            message = "{method} {path} {status} {duration_ms} ms".format_map(given)
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {message}"
        if request_id := given.get("request_id"):
            line += f" [{request_id}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class AppHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable before 3.12
    """A handler that batches the writes of an event loop.

    Lines of up to WRITE_SECONDS are written together, since a write costs as much as formatting a
    line. A warning or error is written at once, with all lines before it. If the process is killed
    (SIGKILL), the lines of that time are lost.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[logging.LogRecord | str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that flushes soon

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.request_id = request_id_var.get()
            self._waiting.append(record if _says_the_same_later(record) else self.format(record))
            if record.levelno >= logging.WARNING or not self._is_written_later():
                self.flush()
        except Exception:  # noqa: BLE001  # as logging's own handlers do
            self.handleError(record)

    def flush(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # each handler has one
            waiting, self._waiting = self._waiting, []
            self._loop = None
            text = "".join(map(self._line, waiting))
            try:
                self.stream.write(text)
            except UnicodeEncodeError:  # one character must not cost the lines around it
                self.stream.write(text.encode("ascii", "backslashreplace").decode())
            super().flush()

    def _line(self, waiting: logging.LogRecord | str) -> str:
        if isinstance(waiting, str):
            return waiting + self.terminator
        try:
            return self.format(waiting) + self.terminator
        except Exception:  # noqa: BLE001  # the other lines have nothing to do with it
            self.handleError(waiting)
            return ""

    def _is_written_later(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a command, or a thread
            return False
        if self._loop is not loop:  # an earlier one may have been closed before it flushed
            self._loop = loop
            loop.call_later(WRITE_SECONDS, self.flush)
        return True


def _says_the_same_later(record: logging.LogRecord) -> bool:
    return isinstance(record.msg, str) and not record.args and not record.exc_info


def flush_logs() -> None:
    for handler in logging.getLogger().handlers:
        with suppress(ValueError):  # its stream is closed, as at the end of a command's test
            handler.flush()


def _holds_no_secret(record: logging.LogRecord) -> bool:
    """Return False for uvicorn's lines about WebSockets: RequestContext writes others.

    They have the query string, and at DEBUG the header fields, cookies and tokens included.
    """
    is_of_socket = str(record.msg).startswith(('%s - "WebSocket ', "connection "))
    return record.levelno > logging.DEBUG and not is_of_socket


def configure_logging(settings: Settings) -> None:
    # No line has them, and they take long to look up. Those of other servers have the process ID.
    logging.logThreads = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # new in 3.12
    handler = AppHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.setLevel(settings.log_level)
    flush_logs()  # what waits in the handler that is replaced
    root.handlers = [each for each in root.handlers if not isinstance(each, AppHandler)] + [handler]
    logging.getLogger("app.core.database.pool").setLevel(logging.WARNING)  # the pool's own words
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # the reloader says what has changed
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # at DEBUG: every parameter
    logging.getLogger("uvicorn.error").addFilter(_holds_no_secret)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # RequestContext writes those
