"""The pages of webhooks: their forms, their secrets and their deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.accounts.pages.confirm import require_confirmation
from app.core.errors import Conflict, TooManyRequests
from app.core.translation import mark
from app.features.webhooks.dependencies import MemberWebhooks
from app.features.webhooks.models import DeliveryStatus
from app.features.webhooks.schemas import DeliveryQuery, WebhookCreate, WebhookQuery
from app.features.webhooks.service.webhooks import WebhookService
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import page_url
from app.web.navigation import Link, ResponseException
from app.web.rendering import render
from app.web.resource_pages import ResourcePages

REFUSALS = (Conflict, TooManyRequests)
LINKS = [Link(mark("Webhooks"), "/webhooks", "members", order=8, place="menu")]

router = APIRouter(prefix="/webhooks", include_in_schema=False)


async def require_recent_password(request: Request, member: Member) -> None:
    """Ask for the password: a webhook goes on sending data when a stolen session has ended."""
    await require_confirmation(request, member)


CONFIRMED = Depends(require_recent_password)


class WebhookPages(ResourcePages):
    name = "webhook"
    title_field = "url"
    folder = "webhooks"
    list_page = "show_webhooks"
    query = WebhookQuery
    schema = WebhookCreate
    service: WebhookService

    def render(self, template: str, form: Form | None = None, **context: object) -> Response:
        return super().render(template, form, event_types=self.service.event_types(), **context)

    def show_new(self) -> Response:
        return self.render("new", Form({"is_enabled": "true"}))

    async def create_with_secret(self, form: Form) -> Response:
        """Show the new secret, instead of a redirect to a page that would have to know it."""
        try:
            created = await self.service.create(self._read(form))
        except FORM_ERRORS as error:
            form.add_error(error)
            raise ResponseException(self.render("new", form)) from error
        return self.render("secret", webhook=created, secret=created.secret, until=None)

    def form_of(self, record: Any) -> Form:
        form = Form({"url": record.url, "description": record.description or ""})
        form.values |= dict.fromkeys(record.event_types, "true")
        form.values |= {"version": str(record.version)}
        if record.is_enabled:
            form.values["is_enabled"] = "true"
        return form

    def _read(self, form: Form) -> WebhookCreate:
        chosen = [type_ for type_ in self.service.event_types() if form.get(type_)]
        is_enabled = bool(form.get("is_enabled"))
        return form.read(WebhookCreate, event_types=chosen, is_enabled=is_enabled)


async def get_webhook_pages(
    request: Request, member: Member, webhooks: MemberWebhooks
) -> WebhookPages:
    return WebhookPages(request, member, webhooks)


WebhookPagesDep = Annotated[WebhookPages, Depends(get_webhook_pages)]


@router.get("")
async def show_webhooks(pages: WebhookPagesDep) -> Response:
    return await pages.show_list()


@router.get("/new")
async def show_new_webhook(pages: WebhookPagesDep) -> Response:
    return pages.show_new()


@router.post("/new", dependencies=[CONFIRMED])
async def create_webhook(form: FormDep, pages: WebhookPagesDep) -> Response:
    return await pages.create_with_secret(form)


@router.get("/{webhook_id:int}/edit")
async def show_webhook(webhook_id: int, pages: WebhookPagesDep) -> Response:
    return await pages.show_edit(webhook_id)


@router.post("/{webhook_id:int}/edit", dependencies=[CONFIRMED])
async def save_webhook(webhook_id: int, form: FormDep, pages: WebhookPagesDep) -> Response:
    return await pages.edit(webhook_id, form)


@router.get("/{webhook_id:int}/delete")
async def show_delete_webhook(webhook_id: int, pages: WebhookPagesDep) -> Response:
    return await pages.show("delete", webhook_id)


@router.post("/{webhook_id:int}/delete")
async def delete_webhook(webhook_id: int, form: FormDep, pages: WebhookPagesDep) -> Response:
    return await pages.delete(webhook_id, form)


@router.get("/{webhook_id:int}/secret")
async def show_webhook_secret(webhook_id: int, pages: WebhookPagesDep) -> Response:
    return await pages.show("replace_secret", webhook_id)


@router.post("/{webhook_id:int}/secret", dependencies=[CONFIRMED])
async def replace_webhook_secret(
    webhook_id: int, pages: WebhookPagesDep, webhooks: MemberWebhooks
) -> Response:
    replaced = await webhooks.replace_secret(webhook_id)
    return pages.render(
        "secret",
        webhook=await webhooks.get(webhook_id),
        secret=replaced.secret,
        until=replaced.previous_secret_until,
    )


@router.get("/{webhook_id:int}/deliveries")
async def show_webhook_deliveries(
    request: Request, webhook_id: int, webhooks: MemberWebhooks
) -> Response:
    return await show_deliveries(request, webhook_id, webhooks, Form(request.query_params))


@router.get("/{webhook_id:int}/deliveries/{delivery_id:int}")
async def show_webhook_delivery(
    request: Request, webhook_id: int, delivery_id: int, webhooks: MemberWebhooks
) -> Response:
    return render(
        request,
        "webhooks/delivery.html",
        webhook=await webhooks.get(webhook_id),
        delivery=await webhooks.get_delivery(webhook_id, delivery_id),
    )


@router.post("/{webhook_id:int}/test")
async def send_webhook_test(
    request: Request, webhook_id: int, webhooks: MemberWebhooks
) -> Response:
    try:
        await webhooks.send_test(webhook_id)
    except REFUSALS as error:
        raise await refusal(request, webhook_id, webhooks, error) from error
    url = page_url(request, "show_webhook_deliveries", webhook_id=webhook_id)
    return flash(
        request, url, mark("A test event is on its way. Reload the page to see its outcome.")
    )


@router.post("/{webhook_id:int}/deliveries/{delivery_id:int}/send")
async def send_webhook_again(
    request: Request, webhook_id: int, delivery_id: int, webhooks: MemberWebhooks
) -> Response:
    try:
        await webhooks.send_again(webhook_id, delivery_id)
    except REFUSALS as error:
        raise await refusal(request, webhook_id, webhooks, error) from error
    url = page_url(request, "show_webhook_deliveries", webhook_id=webhook_id)
    return flash(request, url, mark("The event is on its way. Reload the page to see its outcome."))


async def refusal(
    request: Request, webhook_id: int, webhooks: WebhookService, error: Exception
) -> ResponseException:
    """Return the page of the deliveries with the reason why nothing was sent."""
    form = Form()
    form.add_error(error)
    if isinstance(error, Conflict):
        form.status = 409
    return ResponseException(await show_deliveries(request, webhook_id, webhooks, form))


async def show_deliveries(
    request: Request, webhook_id: int, webhooks: WebhookService, form: Form
) -> Response:
    page = None
    webhook = await webhooks.get(webhook_id)
    try:
        page = await webhooks.list_deliveries(webhook_id, form.read(DeliveryQuery))
    except FORM_ERRORS as error:
        form.add_error(error)
    return render(
        request,
        "webhooks/deliveries.html",
        form=form,
        webhook=webhook,
        page=page,
        statuses=[*DeliveryStatus],
    )
