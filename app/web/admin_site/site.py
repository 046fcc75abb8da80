import logging
from pathlib import Path
from typing import Any

import sqladmin
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from app.core.errors import Forbidden, Stale
from app.core.http.export import FORMATS, export
from app.core.http.templates import MemoryBytecodeCache, compile_templates
from app.web.admin_site.fields import fields_of
from app.web.admin_site.view import AdminView, principal_of
from app.web.forms import REFUSALS, Form, get_form
from app.web.navigation import redirect

TEMPLATES = Path(__file__).parent / "templates"
# The forms name the last one. Signing in and out is the site's own, and there are no uploads.
PAGES = (
    "statics", "index", "list", "details", "create", "edit", "delete", "export", "ajax_lookup",
)  # fmt: skip
REFUSED = (*REFUSALS, Stale)
logger = logging.getLogger("app.admin")


class Admin(sqladmin.Admin):
    """The library's pages, but writes and files are the views'. The library's own would show any
    exception's text, and answer a bug as if it were the user's mistake."""

    def __init__(self, session_maker: Any, path: str, title: str) -> None:
        nowhere = Starlette()  # it would mount itself
        super().__init__(
            nowhere,
            session_maker=session_maker,
            base_url=path,
            title=title,
            templates_dir=str(TEMPLATES),
        )

    def pages(self) -> list[BaseRoute]:
        return [route for route in self.admin.routes if getattr(route, "name", "") in PAGES]

    def share(self, **shared: Any) -> None:
        """With all templates."""
        environment = self.templates.env
        environment.auto_reload = False
        environment.bytecode_cache = MemoryBytecodeCache()
        environment.globals |= shared

    def compile(self) -> None:
        compile_templates(self.templates.env, lambda name: name.endswith(".html"))

    async def index(self, request: Request) -> Response:
        return redirect(f"{self.base_url}/{self.views[0].identity}/list")

    async def create(self, request: Request) -> Response:
        view, form = self._view(request, "create"), Form()
        if request.method == "POST":
            form = await get_form(request)
            try:
                record = await view.create(request, form)
            except REFUSED as error:
                form.refuse(error, view.create_blame)
            else:
                return self._saved(request, form, view, record, "created")
        fields = fields_of(view.create_schema, view.column_labels, form, None, ())
        return await self._show(request, view.create_template, view, form, form=fields)

    async def edit(self, request: Request) -> Response:
        view, form = self._view(request, "edit"), Form()
        seen = await view.get(request.path_params["pk"])
        if request.method == "POST":
            form = await get_form(request)
            try:
                record = await view.edit(request, view.key_of(seen), form)
            except REFUSED as error:
                form.refuse(error)
            else:
                return self._saved(request, form, view, record, "changed", seen)
        fields = fields_of(view.edit_schema, view.column_labels, form, seen, view.hidden)
        return await self._show(request, view.edit_template, view, form, form=fields, obj=seen)

    async def delete(self, request: Request) -> Response:
        view = self._view(request, "delete")
        pks = [view.key(pk) for pk in request.query_params.get("pks", "").split(",")]
        await view.delete(request, pks)
        for pk in pks:
            log(request, "deleted", view, pk)
        return PlainTextResponse(str(request.url_for("admin:list", identity=view.identity)))

    async def export(self, request: Request) -> Response:
        view, format_ = self._view(request, "export"), request.path_params["export_type"]
        if format_ not in FORMATS:
            raise HTTPException(404)
        return await export(view.pages(request), view.read_schema, format_, view.identity)

    def _view(self, request: Request, action: str) -> AdminView:
        view = self._find_model_view(request.path_params["identity"])
        if not isinstance(view, AdminView) or not getattr(view, f"can_{action}"):
            raise Forbidden("This action is not available in the admin.")
        return view

    def _saved(
        self,
        request: Request,
        form: Form,
        view: AdminView,
        record: Any,
        done: str,
        seen: Any = None,
    ) -> Response:
        names = view.changes(form, seen, record) if seen else ()
        pk, identity = view.key_of(record), view.identity
        log(request, done, view, pk, *names)
        match form.get("save"):  # sqladmin's own looks at the record, which may be a wire shape
            case "Save":
                url = request.url_for("admin:list", identity=identity)
                url = url.replace(query=request.url.query)
            case "Save and continue editing":
                url = request.url_for("admin:edit", identity=identity, pk=pk)
            case _:
                url = request.url_for("admin:create", identity=identity)
        return redirect(str(url))

    async def _show(
        self, request: Request, template: str, view: AdminView, sent: Form, **context: Any
    ) -> Response:
        context |= {"model_view": view, "error": sent.alert}
        page = await self.templates.TemplateResponse(request, template, context, sent.status)
        page.headers.update(sent.headers)
        return page


def log(request: Request, done: str, view: AdminView, pk: Any, *fields: str) -> None:
    """Who did what to which record, and never a value."""
    what = f" ({', '.join(fields)})" if fields else ""
    user_id = principal_of(request).user_id
    logger.info("User %s %s %s %s%s", user_id, done, view.identity, pk, what)
