from typing import Annotated

from fastapi import APIRouter, Form, Response, status

from app.accounts.dependencies import AccountServiceDep, AuthServiceDep, CurrentCaller
from app.accounts.models import User
from app.accounts.schemas import TokenRead, TokenRequest, UserCreate, UserRead

router = APIRouter()


@router.post("/auth/token", tags=["auth"])
async def create_token(
    form: Annotated[TokenRequest, Form()], auth: AuthServiceDep, response: Response
) -> TokenRead:
    """Sign in: an access token for an e-mail address and a password (OAuth2)."""
    response.headers["Cache-Control"] = "no-store"
    return await auth.grant(form)


@router.post(
    "/users",
    tags=["users"],
    response_model=UserRead,
    status_code=status.HTTP_201_CREATED,
    responses={403: {"description": "Sign-up is closed"}, 409: {"description": "Address taken"}},
)
async def create_user(data: UserCreate, accounts: AccountServiceDep) -> User:
    """Sign up."""
    return await accounts.sign_up(data)


@router.get("/users/me", tags=["users"], response_model=UserRead)
async def read_current_user(caller: CurrentCaller, accounts: AccountServiceDep) -> User:
    """Who is signed in."""
    return await accounts.get(caller.user_id)
