from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    select,
    true,
    update,
)

from app.accounts.events import KeysRevoked, SessionEnded, UserChanged
from app.accounts.models import (
    NO_PASSWORD,
    ApiKey,
    AuthSession,
    EmailToken,
    EventKind,
    Outcome,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    SecurityEvent,
    SignInChallenge,
    User,
)
from app.accounts.scopes import allowed_scopes
from app.accounts.undo import UndoRepository
from app.core.config import Settings
from app.core.database.events import Events
from app.core.database.models import utc_now
from app.core.database.pagination import Position, Sort
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.errors import AlreadyExists, Conflict, Unauthenticated
from app.core.http.idempotency_records import IdempotencyRepository
from app.core.jobs.queue import JobQueue
from app.core.security.client import request_origin
from app.core.security.principal import Principal
from app.core.security.tokens import AccessClaims
from app.discovery import declared

CredentialT = TypeVar("CredentialT", AuthSession, ApiKey)
MAX_SESSIONS_OF_A_USER = 100


def sign_in_models() -> Sequence[Any]:
    """Return the models of features that sign their users in: SIGN_IN_METHODS of `models`."""
    return declared("models", "SIGN_IN_METHODS")


class SignInMethod(NamedTuple):
    """A model of a feature, and the condition of its rows that sign in."""

    model: Any
    is_usable: ColumnElement[bool]


def sign_in_methods(settings: Settings) -> Sequence[SignInMethod]:
    """Return the methods of features. A model may leave rows out by `is_usable(settings)`."""
    return [
        SignInMethod(each, each.is_usable(settings) if hasattr(each, "is_usable") else true())
        for each in sign_in_models()
    ]


def factor_models() -> Sequence[Any]:
    """Return the models of features that are second factors: SECOND_FACTORS of `models`."""
    return declared("models", "SECOND_FACTORS")


def users_that_are(active: bool | None) -> Select[User]:
    return select(User) if active is None else select(User).where(User.is_active == active)


def has_expired(
    model: type[AuthSession] | type[ApiKey] | type[EmailToken] | type[SignInChallenge],
) -> ColumnElement[bool]:
    """Return the condition of what has expired by both clocks, so that a wrong one ends no session.

    The clocks are compared when a process starts, if the database can be reached then.
    """
    return and_(model.expires_at <= utc_now(), model.expires_at <= func.now())


async def delete_since(
    session: Session, models: Sequence[Any], user_id: int, since: datetime
) -> None:
    """Delete what was added to a user since a time."""
    for model in models:
        statement = delete(model).where(model.user_id == user_id, model.created_at >= since)
        await session.execute(statement)


class UserRepository(Repository[User]):
    model = User

    def tell_change(self, user_id: int) -> None:
        """Let this process forget the user's sessions before it answers."""
        Events(self._session).record(UserChanged(user_id=user_id))

    async def add(self, record: User) -> User:
        """Write a new user or address. Raise AlreadyExists when the address has an account."""
        try:
            return await super().add(record)
        except Conflict as error:
            raise AlreadyExists("An account with this email address already exists.") from error

    async def get(self, user_id: int) -> User | None:
        return await self.one_or_none(select(User).where(User.id == user_id))

    async def lock(self, user_id: int) -> User | None:
        """Lock a user, before anything else of theirs, so that there is no deadlock."""
        return await self._lock(select(User).where(User.id == user_id))

    async def get_by_email(self, email_key: str) -> User | None:
        if "\x00" in email_key:  # nobody's, and PostgreSQL cannot be asked
            return None
        return await self.one_or_none(select(User).where(User.email_key == email_key))

    async def get_unchanged(self, seen: User) -> User | None:
        """Lock a user, and return None if the password has changed or the user is deactivated."""
        statement = select(User).where(User.id == seen.id, User.is_active)
        statement = statement.where(User.password_hash == seen.password_hash)
        return await self._lock(statement)

    async def list(
        self, is_active: bool | None, sort: Sort, after: Position | None, limit: int
    ) -> Sequence[User]:
        return await self.page(users_that_are(is_active), sort, after, limit)

    async def total(self, is_active: bool | None) -> int:
        return await self.count(users_that_are(is_active))

    async def has_superuser(self) -> bool:
        statement = select(exists().where(User.is_superuser))
        return bool(await self._session.scalar(statement))

    async def lock_superusers(self) -> set[int]:
        """Lock the active superusers, and return their ids."""
        statement = select(User.id).where(User.is_superuser, User.is_active).order_by(User.id)
        return set(await self._session.scalars(statement.with_for_update()))

    async def existing_picture_keys(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys of files that belong to accounts."""
        found = set[str]()
        for column in (User.picture_key, User.picture_upload_key):
            found |= {*await self._session.scalars(select(column).where(column.in_(keys)))}
        return found

    async def delete(self, user_id: int) -> None:
        await self._session.execute(delete(User).where(User.id == user_id))

    async def can_sign_in(self, user: User, methods: Sequence[SignInMethod]) -> bool:
        """Return whether the user has a password or one of the methods of features."""
        if user.has_password:
            return True
        for model, is_usable in methods:
            statement = select(model.id).where(model.user_id == user.id, is_usable)
            if await self._session.scalar(statement.limit(1)):
                return True
        return False

    async def discard_credentials(self, user: User, since: datetime) -> None:
        """Discard the password, and every other way to sign in that was added since a time."""
        user.password_hash = NO_PASSWORD
        await delete_since(self._session, sign_in_models(), user.id, since)

    async def _lock(self, statement: Select[User]) -> User | None:
        """Lock a user, and refresh what the session has read before another transaction's change.

        With key_share, items may be added meanwhile.
        """
        statement = statement.with_for_update(key_share=True)
        return await self.one_or_none(statement.execution_options(populate_existing=True))


def with_access(verified_only: bool) -> list[ColumnElement[bool]]:
    """Return the conditions of users who have access."""
    active: list[ColumnElement[bool]] = [User.is_active.is_(True)]
    return [*active, User.email_verified_at.is_not(None)] if verified_only else active


class SecurityEventRepository(Repository[SecurityEvent]):
    """The security events, each committed or rolled back with the change that it records."""

    model = SecurityEvent

    def record(
        self,
        kind: str,
        subject_id: int | None,
        *,
        by: int | None = None,
        session_id: UUID | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        email_hash: str | None = None,
    ) -> None:
        """Record an event of the current request.

        Unless they are given, its actor and its session are those of the request's principal.
        """
        origin = request_origin()
        principal = origin.principal
        event = SecurityEvent(
            kind=kind,
            outcome=outcome,
            subject_id=subject_id,
            email_hash=email_hash,
            actor_id=by or (principal.user_id if principal else None),
            session_id=session_id or (principal.session_id if principal else None),
            address=origin.address,
            user_agent=origin.user_agent,
        )
        self._session.add(event)

    async def list(
        self, user_id: int, sort: Sort, after: Position | None, limit: int
    ) -> Sequence[SecurityEvent]:
        return await self.page(self._of(user_id), sort, after, limit)

    async def total(self, user_id: int) -> int:
        return await self.count(self._of(user_id))

    async def clean_up(self, before: datetime) -> int:
        return await self.delete_some(SecurityEvent.created_at < before)

    def _of(self, user_id: int) -> Select[SecurityEvent]:
        """Select the events of a user, without those of a deleted user who had the same id.

        SQLite gives the highest id again after its row is deleted.
        """
        created_at = select(User.created_at).where(User.id == user_id).scalar_subquery()
        statement = select(SecurityEvent).where(SecurityEvent.subject_id == user_id)
        return statement.where(SecurityEvent.created_at >= created_at)


class CredentialRepository(Repository[CredentialT]):
    """Sessions or API keys. Every end of one is recorded here, and told to its sockets."""

    end_kind: ClassVar[EventKind]

    def __init__(
        self, session: Session, security_events: SecurityEventRepository, *, verified_only: bool
    ) -> None:
        super().__init__(session)
        self._events = Events(session)
        self._security_events = security_events
        self._active = [*with_access(verified_only), self.model.expires_at > utc_now()]

    async def active_ids(self, ids: Collection[UUID]) -> Sequence[UUID]:
        """Return those that have not ended."""
        statement = select(self.model.id).join(User).where(*self._active)
        return (await self._session.scalars(statement.where(self.model.id.in_(ids)))).all()

    async def clean_up(self) -> int:
        return await self.delete_some(has_expired(self.model))

    async def _end(self, statement: Delete, by: int | None = None) -> bool:
        """Run a DELETE, and return whether it has ended any."""
        ended = await self._session.execute(statement.returning(self.model.id, self.model.user_id))
        rows = ended.all()
        for id_, user_id in rows:
            self._events.record(SessionEnded(session_id=id_))
            self._security_events.record(self.end_kind, user_id, by=by, session_id=id_)
        return bool(rows)


class SessionRepository(CredentialRepository[AuthSession]):
    model = AuthSession
    end_kind = EventKind.SESSION_ENDED

    async def verify(self, claims: AccessClaims) -> tuple[Principal, datetime]:
        """Return the principal of a token and the end of its session.

        Raise Unauthenticated when that has ended, or the user has no access any more.
        """
        statement = (
            select(User.is_superuser, AuthSession.expires_at)
            .join(AuthSession, AuthSession.user_id == User.id)
            .where(User.id == claims.sub, AuthSession.id == claims.sid, *self._active)
        )
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            raise Unauthenticated("The session has ended. Sign in again.")
        is_superuser, ends_at = row
        scopes = frozenset(claims.scope.split()) & allowed_scopes(is_superuser)
        return Principal(claims.sub, claims.sid, scopes, is_superuser), ends_at

    async def get_by_cookie(self, cookie_hash: str) -> tuple[AuthSession, User] | None:
        """Return the session of a cookie and its user, or None."""
        statement = (
            select(AuthSession, User)
            .join(User, AuthSession.user_id == User.id)
            .where(AuthSession.cookie_hash == cookie_hash, *self._active)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return row and (row[0], row[1])

    async def end_by_cookie(self, cookie_hash: str) -> None:
        await self._end(delete(AuthSession).where(AuthSession.cookie_hash == cookie_hash))

    async def add(self, record: AuthSession) -> AuthSession:
        """Add a session, and end those of its user that were not used for longest."""
        await super().add(record)
        oldest = select(AuthSession.id).where(AuthSession.user_id == record.user_id)
        oldest = oldest.order_by(AuthSession.last_used_at.desc()).offset(MAX_SESSIONS_OF_A_USER)
        await self._end(delete(AuthSession).where(AuthSession.id.in_(oldest)), by=record.user_id)
        return record

    async def is_new_device(self, user_id: int, address: str, user_agent: str | None) -> bool:
        """Return whether the user is signed in, but nowhere by this address and user agent."""
        is_same = and_(
            AuthSession.address == address,
            AuthSession.user_agent.is_not_distinct_from(user_agent),
        )
        same = func.max(case((is_same, 1), else_=0))
        statement = select(same).where(AuthSession.user_id == user_id)
        found: int | None = await self._session.scalar(statement)
        return found == 0

    async def lock(self, session_id: UUID) -> AuthSession | None:
        return await self.one_or_none(
            select(AuthSession).where(AuthSession.id == session_id).with_for_update()
        )

    async def is_confirmed(
        self, session_id: UUID, since: datetime, *, by_factor: bool = False
    ) -> bool:
        """Return whether the user of a session has confirmed it since a time."""
        time = AuthSession.factor_confirmed_at if by_factor else AuthSession.confirmed_at
        statement = select(AuthSession.id).where(AuthSession.id == session_id, time >= since)
        return await self._session.scalar(statement) is not None

    async def confirm(self, session_id: UUID, cookie_hash: str, *, by_factor: bool) -> None:
        """Note that the user has confirmed a session, and replace the cookie of a browser."""
        statement = update(AuthSession).where(AuthSession.id == session_id)
        has_cookie = AuthSession.cookie_hash.is_not(None)
        statement = statement.values(
            confirmed_at=utc_now(), cookie_hash=case((has_cookie, cookie_hash))
        )
        await self._session.execute(statement)
        if by_factor:
            await self.note_factor(session_id)

    async def note_factor(self, session_id: UUID) -> None:
        """Note that the user of a session has used a second factor, or has set it up."""
        statement = update(AuthSession).where(AuthSession.id == session_id)
        await self._session.execute(statement.values(factor_confirmed_at=utc_now()))

    async def list(self, user_id: int) -> Sequence[AuthSession]:
        statement = select(AuthSession).where(AuthSession.user_id == user_id)
        statement = statement.where(AuthSession.expires_at > utc_now())
        return (await self._session.scalars(statement.order_by(AuthSession.created_at))).all()

    async def lock_by_refresh_token(self, token_hash: str) -> AuthSession | None:
        """Lock a session before its tokens, in the same order as elsewhere: no deadlock."""
        statement = select(AuthSession).join(RefreshToken)
        statement = statement.where(RefreshToken.token_hash == token_hash)
        return await self.one_or_none(statement.with_for_update(of=AuthSession))

    async def add_refresh_token(self, token: RefreshToken) -> None:
        self._session.add(token)
        await self._session.flush()

    async def get_refresh_token(self, token_hash: str) -> RefreshToken:
        return await self._session.get_one(RefreshToken, token_hash, populate_existing=True)

    async def use_refresh_token(self, token_hash: str) -> bool:
        """Use a token. Return False if it was used before: of several calls, one gets True."""
        statement = update(RefreshToken).values(used_at=utc_now())
        statement = statement.where(RefreshToken.token_hash == token_hash)
        statement = statement.where(RefreshToken.used_at.is_(None))
        used = await self._session.scalar(statement.returning(RefreshToken.token_hash))
        return used is not None

    async def count_successors(self, token_hash: str) -> tuple[int, int]:
        """Return how many successors a token has, and how many of them are used."""
        statement = select(func.count(), func.count(RefreshToken.used_at))
        statement = statement.where(RefreshToken.parent_hash == token_hash)
        total, used = (await self._session.execute(statement)).one()
        return total, used

    async def end(
        self, session_id: UUID, user_id: int | None = None, *, by: int | None = None
    ) -> bool:
        statement = delete(AuthSession).where(AuthSession.id == session_id)
        if user_id is not None:
            statement = statement.where(AuthSession.user_id == user_id)
        return await self._end(statement, by)

    async def end_all(
        self, user_id: int, keep: UUID | None = None, *, by: int | None = None
    ) -> None:
        """End the sessions of a user, and the sign-ins that wait for a second factor."""
        await self._session.execute(
            delete(SignInChallenge).where(SignInChallenge.user_id == user_id)
        )
        statement = delete(AuthSession).where(AuthSession.user_id == user_id)
        if keep is not None:
            statement = statement.where(AuthSession.id != keep)
        await self._end(statement, by)


class ApiKeyRepository(CredentialRepository[ApiKey]):
    model = ApiKey
    end_kind = EventKind.API_KEY_REVOKED

    async def get_valid(self, key_hash: str) -> tuple[ApiKey, bool] | None:
        """Return a key and whether its user is a superuser, or None."""
        statement = select(ApiKey, User.is_superuser).join(User, ApiKey.user_id == User.id)
        statement = statement.where(ApiKey.key_hash == key_hash, *self._active)
        row = (await self._session.execute(statement)).one_or_none()
        return row and (row[0], row[1])

    async def touch(self, key_id: UUID, seen: datetime | None) -> bool:
        """Note the use of a key, and return False if another request has since it was seen."""
        statement = update(ApiKey).values(last_used_at=utc_now())
        statement = statement.where(
            ApiKey.id == key_id, ApiKey.last_used_at.is_not_distinct_from(seen)
        )
        touched = await self._session.scalar(statement.returning(ApiKey.id))
        return touched is not None

    async def list(self, user_id: int) -> Sequence[ApiKey]:
        statement = self._valid_of(user_id).order_by(ApiKey.created_at.desc())
        return (await self._session.scalars(statement)).all()

    async def count_of(self, user_id: int) -> int:
        return await self.count(self._valid_of(user_id))

    async def revoke(self, key_id: UUID, user_id: int) -> bool:
        statement = delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id)
        return await self._end(statement)

    async def revoke_all(self, user_id: int, *, by: int | None = None) -> None:
        await self._end(delete(ApiKey).where(ApiKey.user_id == user_id), by)
        self._events.record(KeysRevoked(user_id=user_id))

    def _valid_of(self, user_id: int) -> Select[ApiKey]:
        return select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.expires_at > utc_now())


class EmailTokenRepository(Repository[EmailToken]):
    model = EmailToken

    async def get(self, token_id: UUID) -> EmailToken | None:
        return await self.one_or_none(select(EmailToken).where(EmailToken.id == token_id))

    async def replace(self, token: EmailToken) -> EmailToken:
        """Add a token in the place of others: only the link of the newest mail works."""
        await self.forget(token.user_id, token.purpose)
        return await self.add(token)

    async def forget(self, user_id: int, *purposes: str) -> None:
        statement = delete(EmailToken).where(EmailToken.user_id == user_id)
        await self._session.execute(statement.where(EmailToken.purpose.in_(purposes)))

    async def forget_later(self, token: EmailToken) -> None:
        """Delete the tokens of the same user and purpose that expire later."""
        statement = delete(EmailToken).where(
            EmailToken.user_id == token.user_id,
            EmailToken.purpose == token.purpose,
            EmailToken.expires_at > token.expires_at,
        )
        await self._session.execute(statement)

    async def get_valid(self, token_hash: str, purpose: str) -> EmailToken | None:
        return await self.one_or_none(select(EmailToken).where(*self._valid(token_hash, purpose)))

    async def get_sent(self, user: User, purpose: str, until: datetime) -> EmailToken | None:
        """Return a token for the user's address that is valid until the given time, or None."""
        statement = select(EmailToken).where(
            EmailToken.user_id == user.id,
            EmailToken.purpose == purpose,
            EmailToken.email == user.email,
            EmailToken.expires_at > until,
        )
        return await self.one_or_none(statement)

    async def consume(self, token_hash: str, purpose: str) -> EmailToken | None:
        """Delete a token and return it, or None. Of several concurrent calls, one gets it."""
        statement = delete(EmailToken).where(*self._valid(token_hash, purpose))
        return await self.one_or_none(statement.returning(EmailToken))

    async def clean_up(self) -> int:
        return await self.delete_some(has_expired(self.model))

    def _valid(self, token_hash: str, purpose: str) -> tuple[ColumnElement[bool], ...]:
        return (
            EmailToken.token_hash == token_hash,
            EmailToken.purpose == purpose,
            EmailToken.expires_at > utc_now(),
        )


class SecondFactorRepository(Repository[SecondFactor]):
    """The second factors and their recovery codes. Their users are locked before they change.

    The model is that of an authenticator app. Features can have other factors.
    """

    model = SecondFactor

    async def get(self, user_id: int) -> SecondFactor | None:
        return await self.one_or_none(select(SecondFactor).where(SecondFactor.user_id == user_id))

    async def has_app(self, user_id: int) -> bool:
        statement = select(SecondFactor.user_id).where(SecondFactor.user_id == user_id)
        return await self._session.scalar(statement) is not None

    async def is_enabled(self, user_id: int) -> bool:
        """Return whether the user has a factor of any kind."""
        if await self.has_app(user_id):
            return True
        for model in factor_models():
            statement = select(model.id).where(model.user_id == user_id)
            if await self._session.scalar(statement.limit(1)):
                return True
        return False

    async def use_step(self, user_id: int, step: int) -> bool:
        """Accept the code of a time step. Return False if that or a later one was accepted."""
        statement = update(SecondFactor).values(last_step=step)
        statement = statement.where(SecondFactor.user_id == user_id, SecondFactor.last_step < step)
        used = await self._session.scalar(statement.returning(SecondFactor.user_id))
        return used is not None

    async def delete_app(self, user_id: int) -> bool:
        """Delete the authenticator app. Return False if there is none."""
        statement = delete(SecondFactor).where(SecondFactor.user_id == user_id)
        deleted = await self._session.scalar(statement.returning(SecondFactor.user_id))
        await self.forget_codes(user_id)
        return deleted is not None

    async def discard(self, user_id: int, since: datetime) -> None:
        """Delete the factors that were added since a time, and all recovery codes.

        The codes have no time: a thief may have renewed them.
        """
        await delete_since(self._session, factor_models(), user_id, since)
        statement = delete(SecondFactor).where(
            SecondFactor.user_id == user_id, SecondFactor.enabled_at >= since
        )
        await self._session.execute(statement)
        await self.replace_codes(user_id, [])

    async def delete_all(self, user_id: int) -> bool:
        """Delete the factors of every kind and the codes. Return False if there is no factor."""
        is_enabled = await self.is_enabled(user_id)
        for model in (SecondFactor, *factor_models()):
            await self._session.execute(delete(model).where(model.user_id == user_id))
        await self.forget_codes(user_id)
        return is_enabled

    async def forget_codes(self, user_id: int) -> None:
        """Delete the recovery codes of a user who has no factor any more."""
        if not await self.is_enabled(user_id):
            statement = delete(RecoveryCode).where(RecoveryCode.user_id == user_id)
            await self._session.execute(statement)

    async def replace_codes(self, user_id: int, hashes: Collection[str]) -> None:
        await self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        self._session.add_all(RecoveryCode(code_hash=each, user_id=user_id) for each in hashes)
        await self._session.flush()

    async def use_code(self, user_id: int, code_hash: str) -> bool:
        """Use a recovery code. Of several calls at once, one gets True."""
        statement = delete(RecoveryCode).where(
            RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash
        )
        used = await self._session.scalar(statement.returning(RecoveryCode.code_hash))
        return used is not None

    async def count_codes(self, user_id: int) -> int:
        statement = select(func.count()).select_from(RecoveryCode)
        return await self._session.scalar(statement.where(RecoveryCode.user_id == user_id)) or 0

    async def list(self, after: int, limit: int) -> Sequence[SecondFactor]:
        """Return the second factors of the users with the next ids."""
        statement = select(SecondFactor).where(SecondFactor.user_id > after)
        statement = statement.order_by(SecondFactor.user_id).limit(limit).with_for_update()
        return (await self._session.scalars(statement)).all()


class SignInChallengeRepository(Repository[SignInChallenge]):
    model = SignInChallenge

    async def get(self, token_hash: str) -> SignInChallenge | None:
        return await self.one_or_none(
            select(SignInChallenge).where(SignInChallenge.token_hash == token_hash)
        )

    async def attempt(self, token_hash: str, limit: int) -> bool:
        """Count an attempt. Return False if the challenge is over, or has had its attempts."""
        statement = update(SignInChallenge).values(attempts=SignInChallenge.attempts + 1)
        statement = statement.where(
            SignInChallenge.token_hash == token_hash,
            SignInChallenge.attempts < limit,
            SignInChallenge.expires_at > utc_now(),
        )
        return await self._session.scalar(statement.returning(SignInChallenge.id)) is not None

    async def delete(self, token_hash: str) -> None:
        statement = delete(SignInChallenge).where(SignInChallenge.token_hash == token_hash)
        await self._session.execute(statement)

    async def clean_up(self) -> int:
        return await self.delete_some(has_expired(self.model))


class Accounts:
    """The slice's repositories, in one session.

    With `verified_only`, a user whose address is not confirmed has no access by a session.
    """

    def __init__(self, session: Session, *, verified_only: bool = False) -> None:
        self.session = session  # for the repositories of features
        self.users = UserRepository(session)
        self.security_events = SecurityEventRepository(session)
        self.sessions = SessionRepository(
            session, self.security_events, verified_only=verified_only
        )
        self.api_keys = ApiKeyRepository(session, self.security_events, verified_only=verified_only)
        self.email_tokens = EmailTokenRepository(session)
        self.second_factors = SecondFactorRepository(session)
        self.challenges = SignInChallengeRepository(session)
        self.idempotency = IdempotencyRepository(session)
        self.undo_records = UndoRepository(session)
        self.jobs = JobQueue(session)

    async def lock_user_of(self, principal: Principal) -> User:
        """Lock the user of a session. Raise Unauthenticated if it ended since the request began.

        Otherwise a thief's request that waits for the owner's could add a way to sign in, or delete
        the account, after the owner has ended all of them.
        """
        user = await self.users.lock(principal.user_id)
        if user is None or not await self.sessions.active_ids([principal.session_id]):
            raise Unauthenticated("The session has ended. Sign in again.")
        return user
