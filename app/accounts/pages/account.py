"""The page on which users see and change their own account."""

from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.accounts.dependencies import (
    ApiKeyServiceDep,
    AuthServiceDep,
    Member,
    PictureServiceDep,
    SecondFactorServiceDep,
    SecurityEventServiceDep,
    SessionCookieDep,
    UserServiceDep,
)
from app.accounts.schemas import AccountDeletion, PasswordChange, SecurityEventQuery, UserUpdate
from app.accounts.service.device_names import device_name
from app.accounts.service.event_titles import event_title
from app.core.errors import Forbidden, NotFound
from app.core.storage.images import MAX_PIXELS
from app.core.translation import mark
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, ErrorFields, Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException
from app.web.rendering import render

WRONG_PASSWORD: ErrorFields = {Forbidden: "current_password"}

router = APIRouter(prefix="/account")


class AccountPage:
    """The account page, which has several forms. `at` names the one that was sent."""

    def __init__(
        self,
        request: Request,
        principal: Member,
        users: UserServiceDep,
        auth: AuthServiceDep,
        api_keys: ApiKeyServiceDep,
        pictures: PictureServiceDep,
        second_factors: SecondFactorServiceDep,
        security_events: SecurityEventServiceDep,
    ) -> None:
        self._request = request
        self._principal = principal
        self._users = users
        self._auth = auth
        self._api_keys = api_keys
        self._pictures = pictures
        self._second_factors = second_factors
        self._security_events = security_events

    async def show(self, at: str = "", form: Form | None = None) -> Response:
        user = await self._users.get(self._principal.user_id)
        sessions = await self._auth.list_sessions(self._principal)
        events = await self._security_events.list(self._principal, SecurityEventQuery())
        return render(
            self._request,
            "accounts/account.html",
            form=form,
            at=at,
            blank=Form(),
            user=user,
            rules=self._pictures.rules,
            max_pixels=MAX_PIXELS,
            sessions=sorted(sessions, key=lambda each: (each.is_current, each.last_used_at))[::-1],
            device_name=device_name,
            has_app=await self._second_factors.has_app(self._principal),
            api_keys=await self._api_keys.list(self._principal),
            events=events.results,
            event_title=event_title,
        )


AccountPageDep = Annotated[AccountPage, Depends(AccountPage)]


@router.get("")
async def show_account(page: AccountPageDep) -> Response:
    return await page.show()


@router.post("")
async def save_profile(
    request: Request,
    form: FormDep,
    page: AccountPageDep,
    principal: Member,
    users: UserServiceDep,
) -> Response:
    try:
        form.confirm()
        full_name = form.get("full_name").strip() or None
        await users.update_own(principal, UserUpdate(full_name=full_name))
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(await page.show("profile", form)) from error
    return flash(request, page_url(request, "show_account"), mark("Profile saved."))


@router.post("/email")
async def change_email(
    request: Request,
    form: FormDep,
    page: AccountPageDep,
    principal: Member,
    users: UserServiceDep,
) -> Response:
    try:
        await users.update_own(principal, form.read(UserUpdate, email=form.get("email")))
    except FORM_ERRORS as error:
        form.add_error(error, WRONG_PASSWORD)
        raise ResponseException(await page.show("email", form)) from error
    return flash(
        request,
        page_url(request, "show_account"),
        mark("An email is on its way to the new address. Follow its link to confirm the change."),
    )


@router.post("/password")
async def change_password(
    request: Request,
    form: FormDep,
    page: AccountPageDep,
    principal: Member,
    users: UserServiceDep,
) -> Response:
    try:
        await users.change_password(principal, form.read(PasswordChange))
    except FORM_ERRORS as error:
        form.add_error(error, WRONG_PASSWORD)
        raise ResponseException(await page.show("password", form)) from error
    return flash(
        request,
        page_url(request, "show_account"),
        mark("Password changed. Every other device is signed out."),
    )


@router.post("/sessions/{session_id}/end")
async def end_session(
    request: Request,
    session_id: UUID,
    principal: Member,
    auth: AuthServiceDep,
    cookie: SessionCookieDep,
) -> Response:
    with suppress(NotFound):  # it has ended by itself
        await auth.end_session(principal, session_id)
    if session_id != principal.session_id:
        return flash(request, page_url(request, "show_account"), mark("Device signed out."))
    response = flash(request, page_url(request, "show_login"), mark("You are signed out."))
    cookie.delete(response)
    return response


@router.get("/delete")
async def show_delete_account(request: Request, principal: Member) -> Response:
    return render(request, "accounts/delete_account.html")


@router.post("/delete")
async def delete_account(
    request: Request,
    form: FormDep,
    principal: Member,
    users: UserServiceDep,
    cookie: SessionCookieDep,
) -> Response:
    try:
        await users.delete_own(principal, form.read(AccountDeletion).current_password)
    except FORM_ERRORS as error:
        form.add_error(error, WRONG_PASSWORD)
        raise ResponseException(
            render(request, "accounts/delete_account.html", form=form)
        ) from error
    response = flash(
        request,
        page_url(request, "show_login"),
        mark("Your account and everything in it are deleted."),
    )
    cookie.delete(response)
    return response
