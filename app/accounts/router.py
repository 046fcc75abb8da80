from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request, Response, status

from app.accounts.dependencies import (
    AccountOwner,
    ApiKeyServiceDep,
    AuthServiceDep,
    ClientInfoDep,
    ConfirmationServiceDep,
    ConfirmedBrowser,
    EmailServiceDep,
    PictureServiceDep,
    PrincipalDep,
    SecondFactorServiceDep,
    SecurityEventServiceDep,
    SessionCookieDep,
    UsersAdmin,
    UserServiceDep,
    forbid_odd_fields,
)
from app.accounts.models import User
from app.accounts.schemas import (
    Accepted,
    AccountDeletion,
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    EmailInput,
    EmailUndo,
    EmailVerification,
    PasswordChange,
    PasswordConfirmation,
    PasswordReset,
    RecoveryCodes,
    Revocation,
    SecondFactorEnable,
    SecondFactorProof,
    SecondFactorRead,
    SecondFactorSetUp,
    SecondFactorSignIn,
    SecurityEventQuery,
    SecurityEventRead,
    SessionConfirmation,
    SessionRead,
    TokenRead,
    TokenRequest,
    UserAdminUpdate,
    UserCreate,
    UserQuery,
    UserRead,
    UserUpdate,
)
from app.core.database.pagination import Page
from app.core.errors import (
    AlreadyExists,
    Conflict,
    FactorRequired,
    Forbidden,
    InvalidTokenRequest,
    LastSuperuser,
    PasswordRequired,
    TooManyRequests,
)
from app.core.http.files import FILE_RESPONSES, send_file
from app.core.http.problem_kinds import problem_response
from app.core.http.routing import ApiRouter
from app.core.http.uploads import UPLOAD_BODY, UploadDep
from app.core.resources import ResourcesDep

TAKEN = problem_response(AlreadyExists, "An account with this email address already exists")
LAST_SUPERUSER = problem_response(LastSuperuser, "This is the last active superuser")
CLOSED = problem_response(Forbidden, "Sign-up is closed")
WRONG_PASSWORD = problem_response(Forbidden, "The current password is wrong")
WRONG_CODE = problem_response(Forbidden, "The current password or the code is wrong")
NOT_PROVEN = problem_response(
    FactorRequired, "The current password is wrong, or the second factor was not used recently"
)
WRONG_NEW_CODE = problem_response(
    FactorRequired, "The code is wrong, or another second factor was not used recently"
)
ENABLED = problem_response(Conflict, "There is a second factor already")
NO_FACTOR = problem_response(Conflict, "There is no second factor")
TOO_MANY = problem_response(TooManyRequests, "Too many attempts")

auth = APIRouter(prefix="/auth", tags=["auth"])
users = APIRouter(prefix="/users", tags=["users"])
# A plain router: an Idempotency-Key would store the response, and with it the key.
api_keys = APIRouter(prefix="/users/me/api-keys", tags=["API keys"])
# Plain as well: the responses have secrets.
second_factor = APIRouter(prefix="/users/me/second-factor", tags=["second factor"])
account = ApiRouter(prefix="/users/me", tags=["users"])
administration = ApiRouter(prefix="/users", tags=["users"], dependencies=[UsersAdmin])


@auth.post("/token", dependencies=[Depends(forbid_odd_fields)], responses=TOO_MANY)
async def create_token(
    form: Annotated[TokenRequest, Form()],
    service: AuthServiceDep,
    client: ClientInfoDep,
    response: Response,
) -> TokenRead:
    """Sign in with an email address and a password, or with a refresh token (OAuth2).

    A refresh token can be used once. The response has the next one. For an account with a second
    factor, the error `second_factor_required` has a `challenge` for `POST /auth/second-factor`.
    """
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return await service.grant(form, client)


@auth.post(
    "/second-factor",
    responses=problem_response(InvalidTokenRequest, "The code is wrong") | TOO_MANY,
)
async def create_token_by_code(
    data: SecondFactorSignIn, service: AuthServiceDep, client: ClientInfoDep, response: Response
) -> TokenRead:
    """Complete a sign-in with a code of the authenticator app, or with a recovery code.

    The challenge of the sign-in is valid for 5 minutes and 5 codes.
    """
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return await service.grant_by_code(data, client)


@auth.post(
    "/confirm",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=WRONG_CODE | TOO_MANY,
)
async def confirm_session(
    data: SessionConfirmation,
    service: ConfirmationServiceDep,
    principal: PrincipalDep,
    cookie: SessionCookieDep,
    response: Response,
) -> None:
    """Confirm the session with the password or a code, for what asks for it in the next minutes.

    A browser that is signed in by a cookie gets a new one.
    """
    value = await service.confirm_session(principal, data)
    if principal.is_browser:
        cookie.write(response, value)


@auth.post("/revoke", response_class=Response)
async def revoke_token(form: Annotated[Revocation, Form()], service: AuthServiceDep) -> None:
    """Sign out: end the session of a refresh or access token (RFC 7009)."""
    await service.revoke(form.token.get_secret_value())


@auth.get("/sessions")
async def list_sessions(service: AuthServiceDep, principal: AccountOwner) -> Sequence[SessionRead]:
    """List the devices that are signed in."""
    return await service.list_sessions(principal)


@auth.delete(
    "/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT, response_class=Response
)
async def delete_session(
    session_id: UUID, service: AuthServiceDep, principal: AccountOwner
) -> None:
    """Sign out a device."""
    await service.end_session(principal, session_id)


@auth.post("/password-reset", status_code=status.HTTP_202_ACCEPTED, responses=TOO_MANY)
async def request_password_reset(
    data: EmailInput, service: EmailServiceDep, client: ClientInfoDep
) -> Accepted:
    """Send an email with a link that sets a new password."""
    await service.request_reset(data.email, client)
    return Accepted()


@auth.post(
    "/password-reset/confirm",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=TOO_MANY,
)
async def reset_password(
    data: PasswordReset, service: EmailServiceDep, client: ClientInfoDep
) -> None:
    """Set a new password and end every session."""
    await service.reset_password(data, client)


@auth.post(
    "/verify-email",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=TAKEN | WRONG_PASSWORD | TOO_MANY,
)
async def verify_email(
    data: EmailVerification, service: EmailServiceDep, client: ClientInfoDep
) -> None:
    """Confirm an email address, with the token of the mail and the password of the account."""
    await service.verify(data, client)


@auth.post(
    "/undo-email",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=TAKEN | TOO_MANY,
)
async def undo_email_change(
    data: EmailUndo, service: EmailServiceDep, client: ClientInfoDep
) -> None:
    """Restore the old email address, discard the password, and end every session."""
    await service.undo_change(data, client)


@auth.post("/verify-email/resend", status_code=status.HTTP_202_ACCEPTED, responses=TOO_MANY)
async def resend_verification(
    data: EmailInput, service: EmailServiceDep, client: ClientInfoDep
) -> Accepted:
    """Send the confirmation email again."""
    await service.request_verification(data.email, client)
    return Accepted()


@users.post(
    "",
    response_model=UserRead,
    status_code=status.HTTP_201_CREATED,
    responses=CLOSED | TAKEN | TOO_MANY,
)
async def create_user(data: UserCreate, service: UserServiceDep, client: ClientInfoDep) -> User:
    """Sign up. An email asks you to confirm your address."""
    return await service.sign_up(data, client)


@administration.get("")
async def list_users(
    query: Annotated[UserQuery, Query()], service: UserServiceDep
) -> Page[UserRead]:
    """List the users, one page at a time. For superusers."""
    return await service.list(query)


@users.get("/me", response_model=UserRead)
async def read_current_user(principal: PrincipalDep, service: UserServiceDep) -> User:
    """Get the user who is signed in."""
    return await service.get(principal.user_id)


@users.patch(
    "/me",
    response_model=UserRead,
    responses=WRONG_PASSWORD | TOO_MANY,
)
async def update_current_user(
    data: UserUpdate, principal: AccountOwner, service: UserServiceDep
) -> User:
    """Change your profile. A new email address takes effect once it is confirmed."""
    return await service.update_own(principal, data)


@users.delete(
    "/me",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=LAST_SUPERUSER | WRONG_PASSWORD | TOO_MANY,
)
async def delete_current_user(
    data: AccountDeletion, principal: AccountOwner, service: UserServiceDep
) -> None:
    """Delete your account and everything in it."""
    await service.delete_own(principal, data.current_password)


@users.post(
    "/me/password",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=WRONG_PASSWORD | TOO_MANY,
)
async def change_password(
    data: PasswordChange, principal: AccountOwner, service: UserServiceDep
) -> None:
    """Set a new password and end every other session."""
    await service.change_password(principal, data)


@account.put(
    "/picture",
    status_code=status.HTTP_202_ACCEPTED,
    response_class=Response,
    openapi_extra=UPLOAD_BODY,
)
async def replace_picture(
    service: PictureServiceDep, principal: AccountOwner, upload: UploadDep
) -> None:
    """Upload an image. A moment later, a small copy of it is your picture."""
    await service.upload(principal, upload)


@account.get("/picture", response_class=Response, responses=FILE_RESPONSES)
async def read_picture(
    service: PictureServiceDep,
    principal: AccountOwner,
    request: Request,
    resources: ResourcesDep,
) -> Response:
    """Download your picture."""
    return await send_file(request, resources.storage, await service.get(principal))


@account.delete("/picture", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def delete_picture(service: PictureServiceDep, principal: AccountOwner) -> None:
    """Remove your picture."""
    await service.remove(principal)


@account.get("/security-events")
async def list_security_events(
    query: Annotated[SecurityEventQuery, Query()],
    principal: AccountOwner,
    service: SecurityEventServiceDep,
) -> Page[SecurityEventRead]:
    """List the sign-ins, failed attempts and changes of your account, the newest first."""
    return await service.list(principal, query)


@api_keys.get("")
async def list_api_keys(service: ApiKeyServiceDep, principal: AccountOwner) -> Sequence[ApiKeyRead]:
    """List your API keys, without the keys themselves."""
    return await service.list(principal)


@api_keys.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=WRONG_PASSWORD | TOO_MANY | problem_response(Conflict, "There are too many keys"),
)
async def create_api_key(
    data: ApiKeyCreate, service: ApiKeyServiceDep, principal: AccountOwner, response: Response
) -> ApiKeyCreated:
    """Create an API key for a program. The response is the only one that has the key.

    Send it as `Authorization: Bearer`. Its scopes are among those of the access token, without
    those of accounts.
    """
    response.headers["Cache-Control"] = "no-store"
    return await service.create(principal, data)


@api_keys.delete(
    "/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=problem_response(PasswordRequired, "The session was not confirmed recently"),
    dependencies=[ConfirmedBrowser],
)
async def revoke_api_key(key_id: UUID, service: ApiKeyServiceDep, principal: AccountOwner) -> None:
    """Revoke an API key. It ends at once. By a cookie it requires a recent confirmation."""
    await service.revoke(principal, key_id)


@second_factor.get("")
async def read_second_factor(
    service: SecondFactorServiceDep, principal: AccountOwner
) -> SecondFactorRead:
    """Get whether you have a second factor, and how many recovery codes are left."""
    return await service.get(principal)


@second_factor.post("/set-up", responses=ENABLED | NOT_PROVEN | TOO_MANY)
async def begin_second_factor(
    data: PasswordConfirmation,
    service: SecondFactorServiceDep,
    principal: AccountOwner,
    response: Response,
) -> SecondFactorSetUp:
    """Get a secret for an authenticator app. It has no effect until a code of the app is sent."""
    response.headers["Cache-Control"] = "no-store"
    return await service.begin(principal, data.current_password)


@second_factor.post(
    "", status_code=status.HTTP_201_CREATED, responses=ENABLED | WRONG_NEW_CODE | TOO_MANY
)
async def enable_second_factor(
    data: SecondFactorEnable,
    service: SecondFactorServiceDep,
    principal: AccountOwner,
    response: Response,
) -> RecoveryCodes:
    """Enable the second factor with a code of the app. The response has the recovery codes."""
    response.headers["Cache-Control"] = "no-store"
    return await service.enable(principal, data)


@second_factor.post("/recovery-codes", responses=NO_FACTOR | WRONG_CODE | TOO_MANY)
async def renew_recovery_codes(
    data: SecondFactorProof,
    service: SecondFactorServiceDep,
    principal: AccountOwner,
    response: Response,
) -> RecoveryCodes:
    """Replace the recovery codes. The old ones end."""
    response.headers["Cache-Control"] = "no-store"
    return await service.renew_recovery_codes(principal, data)


@second_factor.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=NO_FACTOR | WRONG_CODE | TOO_MANY,
)
async def disable_second_factor(
    data: SecondFactorProof, service: SecondFactorServiceDep, principal: AccountOwner
) -> None:
    """Disable the second factor, with the current password and a code."""
    await service.disable(principal, data)


@administration.get("/{user_id}", response_model=UserRead)
async def read_user(user_id: int, service: UserServiceDep) -> User:
    """Get a user. For superusers."""
    return await service.get(user_id)


@administration.patch("/{user_id}", response_model=UserRead, responses=LAST_SUPERUSER)
async def update_user(user_id: int, data: UserAdminUpdate, service: UserServiceDep) -> User:
    """Change a user. For superusers. A new role and a deactivation end all their sessions."""
    return await service.update(user_id, data)


@administration.delete(
    "/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=LAST_SUPERUSER,
)
async def delete_user(user_id: int, service: UserServiceDep) -> None:
    """Delete a user and everything that they own. For superusers."""
    await service.delete(user_id)


router = APIRouter()
router.include_router(auth)
router.include_router(users)
router.include_router(account)
router.include_router(api_keys)
router.include_router(second_factor)
router.include_router(administration)  # behind /users/me
