from collections.abc import Sequence
from typing import Any, ClassVar

from markupsafe import Markup
from starlette.requests import Request

from app.accounts.models import ApiKey, AuthSession, SecurityEvent, User
from app.accounts.schemas import (
    ApiKeyAdminRead,
    SecurityEventAdminRead,
    SessionAdminRead,
    UserAdminCreate,
    UserAdminEdit,
    UserRead,
)
from app.accounts.service.device_names import device_name
from app.accounts.service.event_titles import kind_title
from app.core.errors import AlreadyExists
from app.core.resources import resources_of
from app.web.admin_site.view import AdminView
from app.web.forms import Form


def describe_device(record: SessionAdminRead | SecurityEventAdminRead, _: Request) -> Markup:
    """Return the name of the device. What it sent is the title."""
    name = device_name(record.user_agent)
    return Markup('<span title="{}">{}</span>').format(record.user_agent or "", name)


class UserAdmin(AdminView):
    model = User
    read_schema = UserRead
    create_schema = UserAdminCreate
    edit_schema = UserAdminEdit
    hidden = ("updated_at",)
    create_error_fields: ClassVar = {AlreadyExists: "email"}
    title_field = "email"
    columns = ("id", "email", "full_name", "is_active", "is_superuser", "created_at")
    search_fields = ("email", "full_name")
    sort_fields = ("id", "email", "full_name", "created_at")
    filters = ("is_active", "is_superuser")
    can_delete = True

    async def create(self, request: Request, form: Form) -> Any:
        user = form.read(UserAdminCreate)
        return await resources_of(request).accounts.users.create(
            user.email,
            user.password.get_secret_value(),
            is_superuser=user.is_superuser,
            full_name=user.full_name,
        )

    async def edit(self, request: Request, pk: int, form: Form) -> Any:
        sent = form.read(
            UserAdminEdit,
            full_name=form.get("full_name") or None,
            is_active=form.get("is_active") or False,
            is_superuser=form.get("is_superuser") or False,
            remove_second_factor=form.get("remove_second_factor") or False,
        )
        return await resources_of(request).accounts.users.update(pk, sent, form.get("updated_at"))

    async def delete(self, request: Request, records: Sequence[User]) -> None:
        seen_at = {user.id: self.version_of(user) for user in records}
        await resources_of(request).accounts.users.delete(*seen_at, seen_at=seen_at)

    def version_of(self, record: User) -> str:
        return str(record.updated_at)


class SessionAdmin(AdminView):
    """A device that is signed in. Deleting it signs it out."""

    model = AuthSession
    name = "Session"
    read_schema = SessionAdminRead
    columns = ("user_id", "user_agent", "address", "created_at", "last_used_at", "expires_at")
    search_fields = ("user_agent", "address")
    sort_fields = ("user_id", "created_at", "last_used_at", "expires_at")
    default_sort = ("-last_used_at",)
    labels: ClassVar = {"user_agent": "Device"}
    formats: ClassVar = {"user_agent": describe_device}
    filters = ("user_id",)
    can_delete = True

    def title_of(self, record: Any) -> str:
        return f"{device_name(record.user_agent)} ({record.address})"

    async def delete(self, request: Request, records: Sequence[AuthSession]) -> None:
        await resources_of(request).accounts.auth.end_sessions([each.id for each in records])


class ApiKeyAdmin(AdminView):
    model = ApiKey
    name = "API key"
    read_schema = ApiKeyAdminRead
    title_field = "name"
    columns = ("user_id", "name", "prefix", "scope", "created_at", "last_used_at", "expires_at")
    search_fields = ("name", "prefix")
    sort_fields = ("user_id", "name", "created_at", "last_used_at", "expires_at")
    default_sort = ("-created_at",)
    filters = ("user_id",)


def describe_kind(event: SecurityEventAdminRead, _: Request) -> str:
    """Return the title of the kind, and the kind itself, which the list is searched by."""
    title = kind_title(event.kind, event.outcome)
    return event.kind if title == event.kind else f"{title} ({event.kind})"


class SecurityEventAdmin(AdminView):
    model = SecurityEvent
    name = "Security event"
    read_schema = SecurityEventAdminRead
    columns = (
        "id", "created_at", "kind", "outcome", "subject_id", "actor_id", "address", "user_agent"
    )  # fmt: skip
    search_fields = ("kind", "address", "user_agent", "email_hash")
    sort_fields = ("id", "created_at", "kind", "outcome", "subject_id", "actor_id")
    labels: ClassVar = {"user_agent": "Device"}
    formats: ClassVar = {"kind": describe_kind, "user_agent": describe_device}
    filters = ("subject_id",)


VIEWS = [UserAdmin, SessionAdmin, ApiKeyAdmin, SecurityEventAdmin]
