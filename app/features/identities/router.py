from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Response, Security, status

from app.accounts.dependencies import AccountOwner, require_confirmed_session
from app.core.errors import Conflict, PasswordRequired
from app.core.http.problem_kinds import problem_response
from app.features.identities.dependencies import IdentityServiceDep
from app.features.identities.schemas import IdentityRead

NOT_CONFIRMED = problem_response(PasswordRequired, "The session was not confirmed recently")
LAST = problem_response(Conflict, "It is the only way to sign in")

router = APIRouter(prefix="/users/me/identities", tags=["identities"])


@router.get("")
async def list_identities(
    identities: IdentityServiceDep, principal: AccountOwner
) -> Sequence[IdentityRead]:
    """List your accounts at other providers that sign you in.

    They are linked in a browser, on the account page.
    """
    return await identities.list(principal)


@router.delete(
    "/{identity_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=LAST | NOT_CONFIRMED,
    dependencies=[Security(require_confirmed_session, scopes=["account"])],
)
async def unlink_identity(
    identity_id: UUID, identities: IdentityServiceDep, principal: AccountOwner
) -> None:
    """Unlink an account at a provider. The last way to sign in stays."""
    await identities.unlink(principal, identity_id)
