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
from app.core.http.templates import MemoryBytecodeCache, compile_templates, translate_templates
from app.core.translation import gettext
from app.web.admin_site.fields import build_fields
from app.web.admin_site.texts import label_of
from app.web.admin_site.view import AdminView, principal_of
from app.web.forms import FORM_ERRORS, Form, get_form
from app.web.links import site_url
from app.web.navigation import redirect

TEMPLATES = Path(__file__).parent / "templates"
# The forms refer to `ajax_lookup`. The library's own sign-in and uploads are left out.
PAGES = (
    "statics", "index", "list", "details", "create", "edit", "delete", "export", "ajax_lookup",
)  # fmt: skip
EDIT_ERRORS = (*FORM_ERRORS, Stale)
logger = logging.getLogger("app.admin")


class Admin(sqladmin.Admin):
    """The library's pages, with writes and exports that go through the views.

    The library's own would show the text of any exception, and report a bug as a user's mistake.
    """

    def __init__(self, session_maker: Any, path: str, title: str) -> None:
        unused_app = Starlette()  # the library would mount itself on the app
        super().__init__(
            unused_app,
            session_maker=session_maker,
            base_url=path,
            title=title,
            templates_dir=str(TEMPLATES),
        )

    def pages(self) -> list[BaseRoute]:
        return [route for route in self.admin.routes if getattr(route, "name", "") in PAGES]

    def share(self, currency: str, **shared: Any) -> None:
        """Make the values available to all templates."""
        environment = self.templates.env
        environment.auto_reload = False
        environment.bytecode_cache = MemoryBytecodeCache()
        environment.globals |= shared
        environment.filters["title"] = label_of  # The library writes "Id" above a record.
        translate_templates(environment, currency)

    def compile(self) -> None:
        compile_templates(self.templates.env, lambda name: name.endswith(".html"))

    async def index(self, request: Request) -> Response:
        return redirect(site_url(request, f"{self.base_url}/{self.views[0].identity}/list"))

    async def create(self, request: Request) -> Response:
        view, form = self._view(request, "create"), Form()
        if request.method == "POST":
            form = await get_form(request)
            try:
                record = await view.create(request, form)
            except EDIT_ERRORS as error:
                form.add_error(error, view.create_error_fields)
            else:
                return self._redirect_after_save(request, form, view, record, "created")
        fields = build_fields(view.create_schema, view.column_labels, form, None, ())
        return await self._show(request, view.create_template, view, form, form=fields)

    async def edit(self, request: Request) -> Response:
        view, form = self._view(request, "edit"), Form()
        record = await view.get(request.path_params["pk"])
        if request.method == "POST":
            form = await get_form(request)
            try:
                changed = await view.edit(request, view.key_of(record), form)
            except EDIT_ERRORS as error:
                form.add_error(error)
            else:
                return self._redirect_after_save(request, form, view, changed, "changed", record)
        fields = build_fields(view.edit_schema, view.column_labels, form, record, view.hidden)
        return await self._show(request, view.edit_template, view, form, form=fields, obj=record)

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

    def _redirect_after_save(
        self,
        request: Request,
        form: Form,
        view: AdminView,
        record: Any,
        action: str,
        before: Any = None,
    ) -> Response:
        names = view.changes(form, before, record) if before else ()
        pk, identity = view.key_of(record), view.identity
        log(request, action, view, pk, *names)
        # The library's own version needs a model, not a schema. The buttons send their labels.
        saved = form.get("save")
        if saved == gettext("Save"):
            url = request.url_for("admin:list", identity=identity)
            url = url.replace(query=request.url.query)
        elif saved == gettext("Save and continue editing"):
            url = request.url_for("admin:edit", identity=identity, pk=pk)
        else:
            url = request.url_for("admin:create", identity=identity)
        return redirect(str(url))

    async def _show(
        self, request: Request, template: str, view: AdminView, submitted: Form, **context: Any
    ) -> Response:
        context |= {"model_view": view, "error": submitted.alert}
        page = await self.templates.TemplateResponse(request, template, context, submitted.status)
        page.headers.update(submitted.headers)
        return page


def log(request: Request, action: str, view: AdminView, pk: Any, *fields: str) -> None:
    """Log which user changed which fields of which record, without the values."""
    names = f" ({', '.join(fields)})" if fields else ""
    user_id = principal_of(request).user_id
    logger.info("User %s %s %s %s%s", user_id, action, view.identity, pk, names)
