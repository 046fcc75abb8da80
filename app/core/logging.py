"""One line a record on standard output, with the request's id."""

import json
import logging
import sys
from datetime import UTC, datetime

from app.core.config import Settings
from app.core.middleware import request_id_var

ACCESS_FIELDS = ("method", "path", "route", "status", "duration_ms")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": request_id_var.get(),
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in ACCESS_FIELDS if name in record.__dict__}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        given = record.__dict__
        message = record.getMessage()
        if "duration_ms" in given:
            message = "{method} {path} {status} {duration_ms} ms".format_map(given)
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {message}"
        if request_id := request_id_var.get():
            line += f" [{request_id}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class AppHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable before 3.12
    pass


def _is_of_no_socket(record: logging.LogRecord) -> bool:
    """uvicorn's lines have the query string; RequestContext and app.core.sockets write others."""
    return not str(record.msg).startswith(('%s - "WebSocket ', "connection "))


def configure_logging(settings: Settings) -> None:
    handler = AppHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.setLevel(settings.log_level)
    root.handlers = [each for each in root.handlers if not isinstance(each, AppHandler)] + [handler]
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # the reloader says what has changed
    logging.getLogger("taskiq").setLevel(logging.WARNING)
    logging.getLogger("stamina").setLevel(logging.ERROR)  # app.core.jobs says more
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # at DEBUG: every parameter
    logging.getLogger("uvicorn.error").addFilter(_is_of_no_socket)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # RequestContext writes those
