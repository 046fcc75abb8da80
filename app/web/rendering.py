"""Renders the templates of the shell and of the slices as HTML."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.core.context import route_path
from app.core.http.templates import MemoryBytecodeCache, compile_templates, translate_templates
from app.core.translation import current_language, format_day, format_time, languages
from app.web.flash import forget_flash, read_flash
from app.web.forms import Form, browser_messages
from app.web.links import TEMPLATE_FUNCTIONS, current_page, form_url
from app.web.site import site_of

FOLDER = Path(__file__).parent / "templates"
THEMES = ("light", "dark")


class Templates:
    """The templates, named by slice ("accounts/login.html"), with the globals `shared`."""

    def __init__(self, folders: Iterable[Path], currency: str, **shared: Any) -> None:
        loaders = {each.parent.name: FileSystemLoader(each) for each in (FOLDER, *folders)}
        self._environment = Environment(
            loader=PrefixLoader(loaders),
            autoescape=True,
            undefined=StrictUndefined,
            bytecode_cache=MemoryBytecodeCache(),
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= TEMPLATE_FUNCTIONS | shared
        self._environment.globals["browser_messages"] = browser_messages
        self._environment.filters |= {
            "day": format_day,
            "date": date_tag,
            "time": time_tag,
            "isolate": isolate,
        }
        translate_templates(self._environment, currency)

    def compile(self) -> None:
        compile_templates(self._environment, is_page)

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(context)


def is_page(name: str) -> bool:
    return name.endswith(".html") and "/mail/" not in name


def render(
    request: Request,
    template: str,
    *,
    form: Form | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Render a page. It is not cached, so that "back" shows nothing after signing out."""
    form = form or Form()
    theme, notice = request.cookies.get("theme"), read_flash(request)
    shared = {
        "form": form,
        "principal": getattr(request.state, "principal", None),
        "path": route_path(request.scope),
        "request": request,
        "current_page": current_page(request),
        "form_url": form_url(request),
        "languages": languages(),
        "theme": theme if theme in THEMES else None,
        "notice": notice,
    }
    html = site_of(request).templates.render(template, shared | context)
    response = HTMLResponse(
        html,
        form.status if form.status != 200 else status,
        {
            "Cache-Control": "no-store",
            "Content-Language": current_language().tag,
            "Vary": "Accept-Language, Cookie",
            **form.headers,
            **(headers or {}),
        },
    )
    if notice:
        forget_flash(request, response)
    return response


def time_tag(value: datetime) -> Markup:
    """Format a time as an HTML element. The script converts it to the reader's variant."""
    utc = value.astimezone(UTC).replace(tzinfo=None)
    text = f'<time datetime="{utc.isoformat(timespec="seconds")}Z">{format_time(value)}</time>'
    return Markup(text)  # noqa: S704 - without a user's text


def date_tag(day: date) -> Markup:
    """Format a date as an HTML element, as `time_tag` does a time."""
    return Markup('<time datetime="{}">{}</time>').format(day, format_day(day))


def isolate(text: str) -> Markup:
    """Return a user's text as an element, so that its direction does not affect its sentence."""
    return Markup("<bdi>{}</bdi>").format(text)
