from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

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
from app.accounts.service.event_titles import kind_title
from app.core.errors import AlreadyExists
from app.core.resources import resources_of
from app.web.admin_site.filters import BooleanFilter, ValueFilter
from app.web.admin_site.texts import choice_label
from app.web.admin_site.view import AdminView
from app.web.forms import Form


class UserAdmin(AdminView, model=User):
    icon = "fa-solid fa-user"
    read_schema = UserRead
    create_schema = UserAdminCreate
    edit_schema = UserAdminEdit
    hidden = ("updated_at",)
    create_error_fields: ClassVar = {AlreadyExists: "email"}
    column_list = ("id", "email", "full_name", "is_active", "is_superuser", "created_at")
    column_searchable_list = ("email", "full_name")
    column_sortable_list = ("id", "email", "full_name", "created_at")
    column_filters: ClassVar = [
        BooleanFilter(User.is_active, "Active"),
        BooleanFilter(User.is_superuser, "Superuser"),
    ]

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

    async def delete(self, request: Request, pks: Sequence[int]) -> None:
        await resources_of(request).accounts.users.delete(*pks)


class SessionAdmin(AdminView, model=AuthSession):
    """A device that is signed in. Deleting it signs it out."""

    name = "Session"
    icon = "fa-solid fa-key"
    read_schema = SessionAdminRead
    can_create = False
    can_edit = False
    column_list = ("user_id", "user_agent", "address", "created_at", "last_used_at", "expires_at")
    column_searchable_list = ("user_agent", "address")
    column_sortable_list = ("user_id", "created_at", "last_used_at", "expires_at")
    column_default_sort = ("last_used_at", True)
    column_labels: ClassVar = {"user_agent": "Device"}
    column_filters: ClassVar = [ValueFilter(AuthSession.user_id, "User", int)]

    async def delete(self, request: Request, pks: Sequence[UUID]) -> None:
        await resources_of(request).accounts.auth.end_sessions(pks)


class ApiKeyAdmin(AdminView, model=ApiKey):
    name = "API key"
    icon = "fa-solid fa-robot"
    read_schema = ApiKeyAdminRead
    can_create = False
    can_edit = False
    can_delete = False
    column_list = ("user_id", "name", "prefix", "scope", "created_at", "last_used_at", "expires_at")
    column_searchable_list = ("name", "prefix")
    column_sortable_list = ("user_id", "name", "created_at", "last_used_at", "expires_at")
    column_default_sort = ("created_at", True)
    column_filters: ClassVar = [ValueFilter(ApiKey.user_id, "User", int)]


def describe_kind(event: SecurityEvent, _: str) -> str:
    """Return the title of the kind, and the kind itself, which the list is searched by."""
    title = kind_title(event.kind, event.outcome)
    return event.kind if title == event.kind else f"{title} ({event.kind})"


class SecurityEventAdmin(AdminView, model=SecurityEvent):
    name = "Security event"
    icon = "fa-solid fa-shield"
    read_schema = SecurityEventAdminRead
    can_create = False
    can_edit = False
    can_delete = False
    column_list = (
        "id", "created_at", "kind", "outcome", "subject_id", "actor_id", "address", "user_agent"
    )  # fmt: skip
    column_searchable_list = ("kind", "address", "user_agent", "email_hash")
    column_sortable_list = ("id", "created_at", "kind", "outcome", "subject_id", "actor_id")
    column_default_sort = ("id", True)
    column_labels: ClassVar = {"user_agent": "Device"}
    column_formatters: ClassVar = {
        "kind": describe_kind,
        "outcome": lambda event, _: choice_label(event.outcome),
    }
    column_formatters_detail: ClassVar = column_formatters
    column_filters: ClassVar = [ValueFilter(SecurityEvent.subject_id, "Subject", int)]


VIEWS = [UserAdmin, SessionAdmin, ApiKeyAdmin, SecurityEventAdmin]
