"""Sign-in with the identities of other providers: whose they are, and whose they can become."""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from app.accounts.models import NO_PASSWORD, EventKind, User, email_key
from app.accounts.repository import Accounts
from app.accounts.schemas import ClientInfo
from app.accounts.service.attempts import Attempts
from app.accounts.service.browser import BrowserService, SignedIn
from app.accounts.service.confirmations import ConfirmationService
from app.accounts.service.passwords import require_verified
from app.accounts.service.sign_in_methods import SignInMethods
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import AlreadyExists, Conflict, Forbidden, InvalidTokenRequest, NotFound
from app.core.provider_settings import OidcProvider
from app.core.security.principal import Principal
from app.core.security.seals import InvalidSeal, Seals
from app.core.translation import current_language
from app.features.identities.models import IdentityEvent, LinkedIdentity
from app.features.identities.repository import Identities, IdentityRepository
from app.features.identities.schemas import (
    FLOW_LIFETIME,
    Callback,
    Claims,
    Flow,
    IdentityRead,
    PendingLink,
    Purpose,
)

if TYPE_CHECKING:  # A server without providers starts faster without it.
    from app.features.identities.service.openid import ProviderClient

MAX_PER_USER = 10
ANYBODY = 0  # The user of a flow's seal, before it is known who signs in.


class LinkRequired(Exception):
    """The address at the provider has an account, whose owner has yet to link it.

    `token` is sealed for that account: no other can be linked by it.
    """

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token


class IdentityService:
    def __init__(
        self,
        units: UnitsOfWork[Identities],
        clients: "Mapping[str, ProviderClient]",
        browsers: BrowserService,
        confirmations: ConfirmationService,
        methods: SignInMethods,
        attempts: Attempts,
        flow_seals: Seals,
        link_seals: Seals,
        *,
        signup_enabled: bool,
    ) -> None:
        self._units = units
        self._clients = clients
        self._browsers = browsers
        self._confirmations = confirmations
        self._methods = methods
        self._attempts = attempts
        self._flow_seals = flow_seals
        self._link_seals = link_seals
        self._signup_enabled = signup_enabled

    @property
    def providers(self) -> Sequence[OidcProvider]:
        return [client.provider for client in self._clients.values()]

    async def list(self, principal: Principal) -> Sequence[IdentityRead]:
        async with self._units.reading() as unit:
            identities = await unit.identities.list(principal.user_id)
        titles = {provider.issuer: provider.title for provider in self.providers}
        return [IdentityRead.of(each, titles.get(each.issuer)) for each in identities]

    async def begin(
        self, name: str, purpose: Purpose, next_: str, client: ClientInfo
    ) -> tuple[str, str]:
        """Return the address at the provider, and what the browser keeps until it comes back.

        Raise NotFound, TooManyRequests or Unavailable.
        """
        provider = self._client_of(name)
        await self._attempts.provider(client.network)
        flow = Flow(
            provider=name,
            purpose=purpose,
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            next=next_,
        )
        url = await provider.authorization_url(flow)
        return url, self._flow_seals.seal(ANYBODY, flow.model_dump_json())

    def resume(self, name: str, kept: str | None, callback: Callback) -> Flow:
        """Return the flow that a provider's answer belongs to. Raise InvalidTokenRequest."""
        try:
            text = self._flow_seals.unseal(ANYBODY, kept or "", FLOW_LIFETIME)
        except InvalidSeal:
            raise not_begun() from None
        flow = Flow.model_validate_json(text)
        is_answer = secrets.compare_digest(flow.state.encode(), callback.state.encode())
        if flow.provider != name or not is_answer:
            raise not_begun()
        return flow

    async def claims(self, flow: Flow, callback: Callback, client: ClientInfo) -> Claims:
        """Return what the provider says of the user.

        Raise InvalidTokenRequest, TooManyRequests or Unavailable.
        """
        provider = self._client_of(flow.provider)
        if callback.error or not callback.code:
            raise InvalidTokenRequest(
                "access_denied",
                "{provider} did not sign you in. Start again, or sign in another way.",
                provider=provider.provider.title,
            )
        await self._attempts.provider(client.network)
        return await provider.claims(callback, flow)

    async def sign_in(
        self, flow: Flow, claims: Claims, client: ClientInfo, previous: str | None
    ) -> SignedIn:
        """Sign in the owner of an identity, or a new user.

        Raise LinkRequired, SecondFactorRequired, or an error that says why not.
        """
        identity = await self._find(claims) or await self._sign_up(flow, claims, client)
        provider = self._client_of(flow.provider).provider
        return await self._browsers.sign_in_as(
            identity.user_id,
            partial(self._prove, identity.id),
            client,
            previous,
            is_complete=provider.second_factor,
            is_recent=claims.is_recent,
        )

    async def confirm(self, principal: Principal, flow: Flow, claims: Claims) -> str:
        """Take the sign-in at the provider instead of the password, and return a new cookie."""
        identity = await self._find(claims)
        if identity is None or identity.user_id != principal.user_id:
            raise Forbidden("This sign-in is not linked to your account.")
        prove = partial(self._prove, identity.id)
        provider = self._client_of(flow.provider).provider
        return await self._confirmations.confirm_as(
            principal, prove, IdentityEvent.CHECK, by_factor=provider.second_factor
        )

    async def offer(self, principal: Principal, flow: Flow, claims: Claims) -> str:
        """Return what the browser keeps until the user confirms the link. Raise Conflict."""
        if await self._find(claims):
            raise already_linked()
        return self._seal(principal.user_id, flow, claims)

    def pending(self, principal: Principal, token: str | None) -> PendingLink:
        """Return the link that waits for the principal. Raise Forbidden."""
        try:
            text = self._link_seals.unseal(principal.user_id, token or "", FLOW_LIFETIME)
        except InvalidSeal:
            raise Forbidden(
                "There is nothing to link to this account, or it has waited too long. Start again."
            ) from None
        return PendingLink.model_validate_json(text)

    async def link(self, principal: Principal, token: str | None) -> None:
        """Link the identity that waits for the principal.

        Raise Forbidden, Conflict, or FactorRequired: the identity may open the account without the
        factor.
        """
        pending = self.pending(principal, token)
        async with self._units.transaction() as unit:
            user = await unit.lock_user_of(principal)
            require_verified(user)
            await self._confirmations.require_factor(unit, principal)
            existing = await unit.identities.find(pending.issuer, pending.subject)
            if existing is not None and existing.user_id == user.id:
                return  # The form was sent again, since its response was lost.
            if len(await unit.identities.list(user.id)) >= MAX_PER_USER:
                raise Conflict("At most {limit} sign-ins can be linked.", limit=MAX_PER_USER)
            await self._add(unit, user, pending)
            await self._notify(unit, user, "identity_linked")

    async def unlink(self, principal: Principal, identity_id: UUID) -> None:
        """Unlink an identity. Raise NotFound, or Conflict if it is the only way to sign in."""
        async with self._units.transaction() as unit:
            user = await unit.lock_user_of(principal)
            if not await unit.identities.delete(identity_id, user.id):
                raise NotFound(f"Linked Identity Not Found (id: {identity_id})")
            await self._methods.require_any(unit, user)
            unit.security_events.record(IdentityEvent.UNLINKED, user.id)
            await self._notify(unit, user, "identity_unlinked")

    async def _find(self, claims: Claims) -> LinkedIdentity | None:
        async with self._units.reading() as unit:
            return await unit.identities.find(claims.issuer, claims.subject)

    async def _sign_up(self, flow: Flow, claims: Claims, client: ClientInfo) -> LinkedIdentity:
        """Create an account for a new person. Raise LinkRequired if the address has one."""
        if claims.email is None or not claims.is_verified:
            raise Forbidden(
                "{provider} has not confirmed your email address. Confirm it there, or sign in "
                "with your password and link {provider} on your account page.",
                provider=self._client_of(flow.provider).provider.title,
            )
        if identity := await self._find_or_require_link(flow, claims, claims.email):
            return identity
        if not self._signup_enabled:
            raise Forbidden("Sign-up is closed.")
        await self._attempts.sign_up(client.network)
        try:
            return await self._create(flow, claims, claims.email)
        except AlreadyExists:
            if identity := await self._find_or_require_link(flow, claims, claims.email):
                return identity
            raise

    async def _find_or_require_link(
        self, flow: Flow, claims: Claims, email: str
    ) -> LinkedIdentity | None:
        """Return the identity if the same person has signed up meanwhile, in another window.

        Raise LinkRequired if the address has an account otherwise.
        """
        async with self._units.reading() as unit:
            owner = await unit.users.get_by_email(email_key(email))
        identity = await self._find(claims)
        if owner is not None and identity is None:
            raise LinkRequired(self._seal(owner.id, flow, claims))
        return identity

    async def _create(self, flow: Flow, claims: Claims, email: str) -> LinkedIdentity:
        async with self._units.transaction() as unit:
            user = await unit.users.add(
                User(
                    email=email,
                    email_key=email_key(email),
                    email_verified_at=utc_now(),
                    password_hash=NO_PASSWORD,
                    full_name=claims.name,
                )
            )
            unit.security_events.record(EventKind.USER_CREATED, user.id, by=user.id)
            return await self._add(unit, user, pending_of(flow, claims))

    async def _add(self, unit: Identities, user: User, pending: PendingLink) -> LinkedIdentity:
        unit.security_events.record(IdentityEvent.LINKED, user.id, by=user.id)
        return await unit.identities.add(
            LinkedIdentity(
                user_id=user.id,
                issuer=pending.issuer,
                subject=pending.subject,
                email=pending.email,
            )
        )

    async def _prove(self, identity_id: UUID, accounts: Accounts, user: User) -> None:
        """Note the use of an identity. Raise InvalidTokenRequest if it was unlinked meanwhile."""
        if not await IdentityRepository(accounts.session).touch(identity_id, user.id):
            raise not_begun()

    async def _notify(self, unit: Identities, user: User, kind: str) -> None:
        await unit.jobs.enqueue("send_notice", kind, user.email, current_language().tag)

    def _seal(self, user_id: int, flow: Flow, claims: Claims) -> str:
        return self._link_seals.seal(user_id, pending_of(flow, claims).model_dump_json())

    def _client_of(self, name: str) -> "ProviderClient":
        if name not in self._clients:
            raise NotFound(f"Provider Not Found (name: {name})")
        return self._clients[name]


def pending_of(flow: Flow, claims: Claims) -> PendingLink:
    return PendingLink(
        provider=flow.provider, issuer=claims.issuer, subject=claims.subject, email=claims.email
    )


def read_callback(parameters: Sequence[tuple[str, str]]) -> Callback:
    """Read the parameters of an answer, each of which is sent once. Raise InvalidTokenRequest."""
    try:
        if len(dict(parameters)) == len(parameters):
            return Callback.model_validate(dict(parameters))
    except ValidationError:
        pass
    raise not_begun()


def not_begun() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_request",
        "This sign-in has expired, was used before, or was begun in another window. Start again.",
    )


def already_linked() -> AlreadyExists:
    return AlreadyExists("This sign-in is linked to an account already.")
