from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Response, status

from app.accounts.dependencies import AccountOwner, ClientInfoDep
from app.accounts.schemas import TokenRead
from app.core.errors import Conflict, FactorRequired, InvalidTokenRequest, TooManyRequests
from app.core.http.problem_kinds import problem_response
from app.features.passkeys.dependencies import PasskeyServiceDep
from app.features.passkeys.schemas import (
    PasskeyCreate,
    PasskeyCreated,
    PasskeyOptions,
    PasskeyOptionsRequest,
    PasskeyRead,
    PasskeyRemoval,
    PasskeySignIn,
    PasskeySignInOptions,
    PasskeyUpdate,
)

NOT_PROVEN = problem_response(
    FactorRequired, "The current password is wrong, or the second factor was not used recently"
)
NOT_CONFIRMED = problem_response(
    FactorRequired, "The email address is not confirmed, or the second factor was not used recently"
)
REFUSED = problem_response(InvalidTokenRequest, "The challenge or the answer is not valid")
TOO_MANY_KEYS = problem_response(Conflict, "There are too many passkeys, or it is known already")
LAST = problem_response(Conflict, "It is the only way to sign in")
TOO_MANY = problem_response(TooManyRequests, "Too many attempts")

# Plain routers: an Idempotency-Key would store the responses, which have secrets.
auth = APIRouter(prefix="/auth/passkeys", tags=["auth"])
passkeys = APIRouter(prefix="/users/me/passkeys", tags=["passkeys"])


@auth.post("/options", responses=REFUSED)
async def begin_passkey_sign_in(
    data: PasskeySignInOptions, service: PasskeyServiceDep, response: Response
) -> PasskeyOptions:
    """Get the options for a sign-in with a passkey, alone or as the second factor."""
    response.headers["Cache-Control"] = "no-store"
    return await service.begin_sign_in(data.challenge.get_secret_value())


@auth.post("/verify", responses=REFUSED | TOO_MANY)
async def create_token_by_passkey(
    data: PasskeySignIn, service: PasskeyServiceDep, client: ClientInfoDep, response: Response
) -> TokenRead:
    """Sign in with the answer of a passkey. Each challenge is good for one answer."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return await service.grant(data, client, data.challenge.get_secret_value())


@passkeys.get("")
async def list_passkeys(
    service: PasskeyServiceDep, principal: AccountOwner
) -> Sequence[PasskeyRead]:
    """List your passkeys."""
    return await service.list(principal)


@passkeys.post("/options", responses=NOT_PROVEN | TOO_MANY)
async def begin_passkey(
    data: PasskeyOptionsRequest,
    service: PasskeyServiceDep,
    principal: AccountOwner,
    response: Response,
) -> PasskeyOptions:
    """Get the options for a new passkey."""
    response.headers["Cache-Control"] = "no-store"
    return await service.begin_creation(principal, data.current_password)


@passkeys.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=REFUSED | NOT_CONFIRMED | TOO_MANY_KEYS,
)
async def create_passkey(
    data: PasskeyCreate, service: PasskeyServiceDep, principal: AccountOwner, response: Response
) -> PasskeyCreated:
    """Add a passkey. With the first factor of the account, the response has recovery codes."""
    response.headers["Cache-Control"] = "no-store"
    return await service.create(principal, data)


@passkeys.patch("/{passkey_id}")
async def rename_passkey(
    passkey_id: UUID, data: PasskeyUpdate, service: PasskeyServiceDep, principal: AccountOwner
) -> PasskeyRead:
    """Rename a passkey."""
    return await service.rename(principal, passkey_id, data)


@passkeys.delete(
    "/{passkey_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=LAST | NOT_PROVEN | TOO_MANY,
)
async def remove_passkey(
    passkey_id: UUID, data: PasskeyRemoval, service: PasskeyServiceDep, principal: AccountOwner
) -> None:
    """Remove a passkey. The last way to sign in stays."""
    await service.remove(principal, passkey_id, data.current_password)


router = APIRouter()
router.include_router(auth)
router.include_router(passkeys)
