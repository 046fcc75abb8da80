import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, FastAPI, Request
from markupsafe import Markup

from app.accounts.dependencies import Visitor
from app.core.config import Settings
from app.core.errors import Forbidden
from app.core.resources import resources_of
from app.core.security.client import UNKNOWN, client_address
from app.core.translation import languages, use_language
from app.features.lab.service.figures import read_results
from app.features.lab.service.runs import Runs
from app.features.lab.service.sources import Line, read_functions, read_steps
from app.features.lab.service.stopping import call_on_shutdown
from app.web.rendering import Templates


@dataclass
class Lab:
    """The state of the lab's page that all requests share."""

    runs: Runs
    steps: dict[str, Markup]  # by the tag of the language
    waits: dict[str, list[Line]]
    is_stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        self.is_stopping.set()
        self.runs.stop()


@asynccontextmanager
async def open_lab(app: FastAPI) -> AsyncIterator[None]:
    """Open the lab for the lifetime of the application, after the application's own resources."""
    settings, templates = app.state.resources.settings, app.state.site.templates
    lab = await to_thread.run_sync(build_lab, settings, templates)  # it reads files
    app.state.lab = lab
    try:
        with call_on_shutdown(lab.stop):
            yield
    finally:
        await lab.runs.close()


def build_lab(settings: Settings, templates: Templates) -> Lab:
    """Build the lab. The steps are rendered once, since their code does not change."""
    steps, rendered = read_steps(), dict[str, Markup]()
    for tag in languages():
        with use_language(tag):
            html = templates.render("lab/steps.html", {"steps": steps})
            rendered[tag] = Markup(html)  # noqa: S704 - a template has escaped it
    return Lab(Runs(settings, read_results()), rendered, waits=read_functions("pages/waits.py"))


async def get_lab(request: Request) -> Lab:
    lab: Lab = request.app.state.lab
    return lab


LabDep = Annotated[Lab, Depends(get_lab)]


async def may_run(request: Request, visitor: Visitor) -> bool:
    """Return whether the visitor may run the lab: superusers, and users of this machine.

    Behind a proxy on this machine that does not forward the client's address, every client seems
    to be local. So the address counts only with ENVIRONMENT=local, which has no other clients.
    """
    if visitor is not None and visitor.is_superuser:
        return True
    address = client_address(request)
    is_local = resources_of(request).settings.environment == "local"
    return is_local and address != UNKNOWN and ip_address(address).is_loopback


MayRun = Annotated[bool, Depends(may_run)]


async def require_permission(may_run: MayRun) -> None:
    if not may_run:
        raise Forbidden("Only superusers can do this from another machine.")
