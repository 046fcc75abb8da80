from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import Depends, Request, Response, Security, WebSocket
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from starlette.requests import HTTPConnection

from app.accounts.repository import Accounts, factor_models, sign_in_methods
from app.accounts.schemas import ClientInfo
from app.accounts.scopes import all_scopes, allowed_scopes
from app.accounts.service.api_keys import KEY_PREFIX, ApiKeyService
from app.accounts.service.attempts import Attempts
from app.accounts.service.auth import CHALLENGE_LIFETIME, AuthService
from app.accounts.service.browser import BrowserService, SignedIn
from app.accounts.service.codes import SecondFactorCodes
from app.accounts.service.confirmations import ConfirmationService, not_confirmed
from app.accounts.service.devices import LIFETIME as DEVICE_LIFETIME
from app.accounts.service.devices import Devices
from app.accounts.service.emails import EmailService
from app.accounts.service.passwords import AccountPasswords
from app.accounts.service.pictures import PictureService
from app.accounts.service.second_factor import SecondFactorService
from app.accounts.service.security_events import SecurityEventService
from app.accounts.service.sign_in_methods import SignInMethods
from app.accounts.service.users import UserService
from app.accounts.session_cache import SessionCache
from app.core.about import NAME
from app.core.config import Settings
from app.core.database.pagination import Cursors
from app.core.database.unit_of_work import Database, UnitsOfWork
from app.core.errors import (
    Forbidden,
    InvalidTokenRequest,
    MissingScope,
    NotSignedIn,
    SecondFactorMissing,
    Unauthenticated,
)
from app.core.jobs.mail import Mailer
from app.core.realtime.sockets import SUBPROTOCOL
from app.core.resources import resources_of
from app.core.security.client import client_address, client_network, client_user_agent
from app.core.security.cookies import Cookie
from app.core.security.fair_queue import FairQueue
from app.core.security.keys import derive_key
from app.core.security.origin import has_own_origin, is_same_origin
from app.core.security.passwords import Passwords
from app.core.security.principal import Principal
from app.core.security.rate_limit import RateLimiter
from app.core.security.seals import Seals
from app.core.security.tokens import AccessTokens
from app.core.storage.storage import Storage
from app.core.storage.uploads import IMAGES, UploadRules

DAY = 24 * 3600


class OAuth2(OAuth2PasswordBearer):
    def __init__(self) -> None:
        super().__init__(
            tokenUrl="/api/v1/auth/token",
            refreshUrl="/api/v1/auth/token",
            scheme_name="OAuth2",
            description="An API key is accepted instead of an access token.",
            scopes=all_scopes(),
            auto_error=False,
        )


oauth2 = OAuth2()


@dataclass(frozen=True, kw_only=True)
class AccountServices:
    """The services of accounts, which hold no state of a request and serve all of them."""

    api_keys: ApiKeyService
    auth: AuthService
    browsers: BrowserService
    codes: SecondFactorCodes
    confirmations: ConfirmationService
    emails: EmailService
    passwords: AccountPasswords
    pictures: PictureService
    second_factors: SecondFactorService
    security_events: SecurityEventService
    sign_in_methods: SignInMethods
    users: UserService
    session_cookie: Cookie
    challenge_cookie: Cookie
    device_cookie: Cookie

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of an access token or an API key. Raise Unauthenticated."""
        service = self.api_keys if token.startswith(KEY_PREFIX) else self.auth
        return await self.second_factors.restrict(await service.authenticate(token))

    def write_cookies(self, response: Response, signed_in: SignedIn) -> None:
        self.session_cookie.write(response, signed_in.cookie)
        self.device_cookie.write(response, signed_in.device)


def build_services(
    settings: Settings,
    *,
    database: Database,
    cursors: Cursors,
    rate_limiter: RateLimiter,
    passwords: Passwords,
    hashing: FairQueue,
    mailer: Mailer,
    session_cache: SessionCache,
    storage: Storage,
) -> AccountServices:
    factor_models()  # They are found now, since this reads folders.
    key = settings.signing_key
    repositories = partial(Accounts, verified_only=settings.require_verified_email)
    accounts = UnitsOfWork(repositories, database)
    attempts = Attempts(rate_limiter, settings.rate_limit_login)
    security_events = SecurityEventService(
        accounts,
        cursors,
        key=derive_key(key, "security events"),
        lifetime=timedelta(days=settings.security_event_days),
    )
    keys = [each for each in (key, settings.previous_signing_key) if each]
    seals, devices = Seals("second factor", *keys), Devices(Seals("device", *keys))
    codes = SecondFactorCodes(accounts, attempts, security_events, seals)
    auth = AuthService(
        accounts,
        passwords,
        hashing,
        AccessTokens(
            key, timedelta(minutes=settings.access_token_minutes), settings.previous_signing_key
        ),
        session_cache,
        attempts,
        security_events,
        codes,
        devices,
        session_lifetime=timedelta(days=settings.refresh_token_days),
        idle_lifetime=timedelta(days=settings.session_idle_days),
        reuse_grace=timedelta(seconds=settings.refresh_reuse_grace_seconds),
        require_verified_email=settings.require_verified_email,
    )
    account_passwords = AccountPasswords(
        accounts,
        passwords,
        hashing,
        attempts,
        security_events,
        site_names=(NAME, settings.mail_from.name, settings.host_name),
    )
    confirmations = ConfirmationService(
        accounts,
        account_passwords,
        codes,
        lifetime=timedelta(minutes=settings.password_confirmation_minutes),
    )
    second_factors = SecondFactorService(
        accounts,
        codes,
        account_passwords,
        confirmations,
        attempts,
        seals,
        Seals("second factor set-up", *keys),
        issuer=NAME,
        is_required=settings.require_second_factor == "superusers",
    )
    browsers = BrowserService(
        accounts,
        auth,
        second_factors,
        devices,
        session_cache,
        touch_after=timedelta(minutes=settings.access_token_minutes),  # as other clients refresh
    )
    emails = EmailService(
        accounts,
        account_passwords,
        attempts,
        mailer,
        key=derive_key(key, "email token"),
        site_url=settings.site_url,
    )
    users = UserService(
        accounts,
        account_passwords,
        attempts,
        emails,
        second_factors,
        cursors,
        signup_enabled=settings.signup_enabled,
    )
    api_keys = ApiKeyService(
        accounts, account_passwords, session_cache, rate_limiter, settings.rate_limit_api_key
    )
    return AccountServices(
        api_keys=api_keys,
        auth=auth,
        browsers=browsers,
        codes=codes,
        confirmations=confirmations,
        emails=emails,
        passwords=account_passwords,
        pictures=PictureService(accounts, storage, UploadRules(settings.max_upload_bytes, IMAGES)),
        second_factors=second_factors,
        security_events=security_events,
        sign_in_methods=SignInMethods(sign_in_methods(settings)),
        users=users,
        session_cookie=Cookie("auth_session", settings.refresh_token_days * DAY, settings),
        challenge_cookie=Cookie("sign_in_challenge", CHALLENGE_LIFETIME.seconds, settings),
        device_cookie=Cookie("device", DEVICE_LIFETIME.days * DAY, settings),
    )


async def get_auth_service(connection: HTTPConnection) -> AuthService:
    return resources_of(connection).accounts.auth


async def get_api_key_service(request: Request) -> ApiKeyService:
    return resources_of(request).accounts.api_keys


async def get_browser_service(connection: HTTPConnection) -> BrowserService:
    return resources_of(connection).accounts.browsers


async def get_confirmation_service(request: Request) -> ConfirmationService:
    return resources_of(request).accounts.confirmations


async def get_user_service(request: Request) -> UserService:
    return resources_of(request).accounts.users


async def get_email_service(request: Request) -> EmailService:
    return resources_of(request).accounts.emails


async def get_picture_service(request: Request) -> PictureService:
    return resources_of(request).accounts.pictures


async def get_second_factor_service(request: Request) -> SecondFactorService:
    return resources_of(request).accounts.second_factors


async def get_security_event_service(request: Request) -> SecurityEventService:
    return resources_of(request).accounts.security_events


ApiKeyServiceDep = Annotated[ApiKeyService, Depends(get_api_key_service)]
AuthServiceDep = Annotated[AuthService, Depends(get_auth_service)]
BrowserServiceDep = Annotated[BrowserService, Depends(get_browser_service)]
ConfirmationServiceDep = Annotated[ConfirmationService, Depends(get_confirmation_service)]
PictureServiceDep = Annotated[PictureService, Depends(get_picture_service)]
SecondFactorServiceDep = Annotated[SecondFactorService, Depends(get_second_factor_service)]
SecurityEventServiceDep = Annotated[SecurityEventService, Depends(get_security_event_service)]
UserServiceDep = Annotated[UserService, Depends(get_user_service)]
EmailServiceDep = Annotated[EmailService, Depends(get_email_service)]


async def get_client_info(request: Request) -> ClientInfo:
    return ClientInfo(
        client_address(request),
        client_network(request),
        client_user_agent(request),
        resources_of(request).accounts.device_cookie.read(request),
    )


ClientInfoDep = Annotated[ClientInfo, Depends(get_client_info)]


async def forbid_odd_fields(request: Request) -> None:
    """Refuse repeated parameters (RFC 6749, section 3.2). The framework would take the last one."""
    form = await request.form()  # parsed before, and kept
    for name, value in form.items():
        if not isinstance(value, str):
            raise InvalidTokenRequest(
                "invalid_request", "{name} must be text, not a file.", name=name
            )
        if len(form.getlist(name)) > 1:
            raise InvalidTokenRequest(
                "invalid_request", "{name} must be sent exactly once.", name=name
            )


async def get_principal(
    required: SecurityScopes,
    token: Annotated[str | None, Depends(oauth2)],
    connection: HTTPConnection,
) -> Principal:
    """Return the user of the access token or API key, or of the cookie.

    They have to have the operation's scopes.
    """
    if token is None:
        principal = await get_cookie_user(connection)
    else:
        principal = await resources_of(connection).accounts.authenticate(token)
    connection.scope["principal"] = principal
    require_scopes(principal, *required.scopes)
    return principal


async def get_cookie_user(connection: HTTPConnection) -> Principal:
    """Return the user of the cookie, which counts only for FRONTEND_DIR and the API docs.

    A browser sends it with the requests of other sites, too: these are told apart by their origin.
    A superuser has the rights of one only while the session is confirmed, as in the admin.
    """
    resources = resources_of(connection)
    value = resources.accounts.session_cookie.read(connection)
    settings, principal = resources.settings, None
    if value and settings.api_accepts_cookie and is_same_origin(connection.scope, settings):
        principal = await resources.accounts.browsers.authenticate(value)
    if principal is None:
        raise Unauthenticated("Not authenticated. Send an access token.", token_given=False)
    return await resources.accounts.confirmations.restrict(principal)


async def require_same_origin(request: Request) -> None:
    """Refuse what a page of another site sends, such as a sign-in to an account of its own."""
    if not is_same_origin(request.scope, resources_of(request).settings):
        raise Forbidden("The cookie is only valid for pages of this site.")


def require_scopes(principal: Principal, *scopes: str) -> None:
    """Raise MissingScope, or what names the way in which a superuser gets the scopes."""
    if missing := set(scopes) - principal.scopes:
        if missing - allowed_scopes(is_superuser=False):
            if principal.lacks_second_factor:
                raise SecondFactorMissing
            if principal.lacks_confirmation:
                raise not_confirmed()
        scope = " ".join(sorted(missing))
        raise MissingScope("The access token lacks the scope {scope}.", scope=scope)


async def get_session_cookie(connection: HTTPConnection) -> Cookie:
    return resources_of(connection).accounts.session_cookie


async def get_challenge_cookie(connection: HTTPConnection) -> Cookie:
    return resources_of(connection).accounts.challenge_cookie


SessionCookieDep = Annotated[Cookie, Depends(get_session_cookie)]
ChallengeCookieDep = Annotated[Cookie, Depends(get_challenge_cookie)]


async def get_live_token(
    websocket: WebSocket, token: Annotated[str | None, Depends(oauth2)]
) -> str | None:
    """Return the token of the header, or of the subprotocols `bearer, TOKEN` of a script."""
    match websocket.scope["subprotocols"]:
        case [protocol, offered, *_] if token is None and protocol == SUBPROTOCOL:
            return str(offered)
    return token


async def get_live_principal(
    required: SecurityScopes,
    websocket: WebSocket,
    token: Annotated[str | None, Depends(get_live_token)],
    cookie: SessionCookieDep,
    browsers: BrowserServiceDep,
) -> Principal:
    """Return the principal of a WebSocket, by its token or by the cookie of a page of this site."""
    value = cookie.read(websocket)
    if token is not None or value is None:
        return await get_principal(required, token, websocket)
    if not has_own_origin(websocket.scope, resources_of(websocket).settings):
        raise Forbidden("The cookie is only valid for pages of this site.")
    principal = await browsers.authenticate(value)
    if principal is None:
        raise Unauthenticated("The session has ended. Sign in again.")
    return principal


PrincipalDep = Annotated[Principal, Security(get_principal)]
AccountOwner = Annotated[Principal, Security(get_principal, scopes=["account"])]


async def require_confirmed_session(
    principal: PrincipalDep, confirmations: ConfirmationServiceDep
) -> None:
    """Refuse a session that was not confirmed recently, and let API keys pass.

    Security() gives it the scopes of the operation: with others, FastAPI would authenticate twice.
    """
    await confirmations.require_recent(principal)


async def require_confirmed_browser(
    principal: AccountOwner, confirmations: ConfirmationServiceDep
) -> None:
    """Refuse a browser whose session was not confirmed recently. Access tokens end soon."""
    if principal.is_browser:
        await confirmations.require_recent(principal)


ConfirmedBrowser = Depends(require_confirmed_browser)
UsersAdmin = Security(get_principal, scopes=["users:admin"])


async def get_visitor(
    request: Request, cookie: SessionCookieDep, browsers: BrowserServiceDep
) -> Principal | None:
    """Return the user whom the browser's cookie signs in, or None."""
    value = cookie.read(request)
    principal = await browsers.authenticate(value) if value else None
    request.state.principal = principal  # for the bar
    if principal is not None:
        request.scope["principal"] = principal
    return principal


Visitor = Annotated[Principal | None, Depends(get_visitor)]


async def get_member(visitor: Visitor) -> Principal:
    if visitor is None:
        raise NotSignedIn
    return visitor


Member = Annotated[Principal, Depends(get_member)]
