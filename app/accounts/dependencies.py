from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from app.accounts.repository import AccountRepository
from app.accounts.service import SCOPES, AccountService, AuthService
from app.core.db import SessionDep
from app.core.errors import MissingScope, Unauthenticated
from app.core.security import Caller

oauth2 = OAuth2PasswordBearer(
    tokenUrl="/api/v1/auth/token", scheme_name="OAuth2", scopes=SCOPES, auto_error=False
)


async def get_account_service(request: Request, session: SessionDep) -> AccountService:
    state = request.app.state
    return AccountService(
        AccountRepository(session),
        state.passwords,
        signup_enabled=state.settings.signup_enabled,
    )


AccountServiceDep = Annotated[AccountService, Depends(get_account_service)]


async def get_auth_service(request: Request) -> AuthService:
    auth: AuthService = request.app.state.auth
    return auth


AuthServiceDep = Annotated[AuthService, Depends(get_auth_service)]


async def get_caller(
    required: SecurityScopes, token: Annotated[str | None, Depends(oauth2)], auth: AuthServiceDep
) -> Caller:
    if token is None:
        raise Unauthenticated("Not authenticated.", token_given=False)
    caller = await auth.authenticate(token)
    if missing := set(required.scopes) - caller.scopes:
        raise MissingScope(f"The access token lacks the scope {' '.join(sorted(missing))}.")
    return caller


CurrentCaller = Annotated[Caller, Security(get_caller)]
