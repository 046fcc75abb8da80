"""The page of the lab, and the server-sent events that update it."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from app.core.errors import Conflict
from app.core.resources import resources_of
from app.features.lab.dependencies import Lab, LabDep, MayRun, require_permission
from app.features.lab.schemas import STEPS, Plan
from app.features.lab.service.figures import heading, panels
from app.features.lab.service.trace import Trace
from app.features.lab.service.vitals import Vitals
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException, redirect
from app.web.rendering import render
from app.web.site import site_of

SECONDS, CLIENTS = 2, [10, 100]  # under a minute in total; the command measures longer
UPDATE_SECONDS = 0.2

router = APIRouter(prefix="/lab")
guarded = APIRouter(prefix="/run", dependencies=[Depends(require_permission)])


@router.get("")
async def show_lab(request: Request, lab: LabDep, may_run: MayRun) -> Response:
    return show(request, lab, may_run=may_run)


@guarded.post("")
async def start_run(request: Request, lab: LabDep, form: FormDep) -> Response:
    try:
        lab.runs.start(form.read(Plan, seconds=SECONDS, clients=CLIENTS))
    except FORM_ERRORS as error:
        form.add_error(error)
        if isinstance(error, Conflict):
            form.status = 409
        raise ResponseException(show(request, lab, form, may_run=True)) from error
    return redirect(page_url(request, "show_lab") + "#figures")


@guarded.get("/news", response_class=EventSourceResponse)
async def stream_run(request: Request, lab: LabDep) -> AsyncIterator[ServerSentEvent]:
    """Send the progress and the charts of the run, from its start to its end."""
    if run := lab.runs.current:
        async for _ in run.watch():
            context = run_context(lab)
            yield render_part(request, "status", **context)
            yield render_part(request, "chart", **context)
    yield ServerSentEvent(event="end", raw_data="end")


@guarded.get("/vitals", response_class=EventSourceResponse)
async def stream_vitals(request: Request, lab: LabDep) -> AsyncIterator[ServerSentEvent]:
    """Send the vitals of this process until it stops."""
    vitals, trace = Vitals(), Trace()
    while not lab.is_stopping.is_set():
        now = await vitals.watch_for(UPDATE_SECONDS)
        trace.add(now.loop_lag_ms)
        yield render_part(request, "vitals", vitals=now, trace=trace, limit=thread_limit(request))


router.include_router(guarded)


def show(request: Request, lab: Lab, form: Form | None = None, *, may_run: bool) -> Response:
    return render(
        request,
        "lab/page.html",
        form=form,
        lab=lab,
        may_run=may_run,
        vitals=Vitals().take(),  # all zero
        trace=Trace(),
        limit=thread_limit(request),
        workers=resources_of(request).settings.web_concurrency,
        **run_context(lab),
    )


def run_context(lab: Lab) -> dict[str, Any]:
    runs = lab.runs
    running = runs.current if runs.is_running else None
    shown = running or runs.results
    return {
        "run": runs.current,
        "results": None if running else runs.results,
        "plan": shown.plan,
        "panels": panels(shown.plan, shown.measurements),
        "names": STEPS,
        "heading": heading,
    }


def render_part(request: Request, name: str, **context: Any) -> ServerSentEvent:
    """Render a part of the page, which the script replaces."""
    html = site_of(request).templates.render(f"lab/{name}.html", context)
    return ServerSentEvent(event=name, raw_data=html)


def thread_limit(request: Request) -> int:
    return resources_of(request).settings.thread_limit
