"""Creation, change and deletion of accounts, by their owners and by superusers."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from app.accounts.models import EventKind, User, email_key
from app.accounts.repository import Accounts
from app.accounts.schemas import (
    ClientInfo,
    PasswordChange,
    UserAdminEdit,
    UserAdminUpdate,
    UserCreate,
    UserQuery,
    UserRead,
    UserUpdate,
)
from app.accounts.service.attempts import Attempts
from app.accounts.service.emails import EmailService
from app.accounts.service.passwords import AccountPasswords, found, lock_checked
from app.accounts.service.second_factor import SecondFactorService
from app.core.database.models import utc_now
from app.core.database.pagination import Cursors, Page, Sort
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import AlreadyExists, Forbidden, LastSuperuser, Stale
from app.core.security.principal import Principal
from app.core.translation import current_language

BY_ADMIN = "administration"  # whose turn it is to have a password hashed


class UserService:
    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: AccountPasswords,
        attempts: Attempts,
        emails: EmailService,
        second_factors: SecondFactorService,
        cursors: Cursors,
        *,
        signup_enabled: bool,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._attempts = attempts
        self._emails = emails
        self._second_factors = second_factors
        self._cursors = cursors
        self.signup_enabled = signup_enabled

    async def sign_up(self, data: UserCreate, client: ClientInfo) -> User:
        if not self.signup_enabled:
            raise Forbidden("Sign-up is closed.")
        await self._attempts.sign_up(client.network)
        user = User(
            email=data.email,
            email_key=email_key(data.email),
            password_hash=await self._passwords.hash(data.password, data.email, client.network),
            full_name=data.full_name,
        )
        async with self._accounts.transaction() as accounts:
            await accounts.users.add(user)
            accounts.security_events.record(EventKind.USER_CREATED, user.id, by=user.id)
            await self._emails.request_confirmation(accounts, user.id, user.email)
        return user

    async def create(
        self, email: str, password: str, *, is_superuser: bool, full_name: str | None = None
    ) -> User:
        """Create a user whose address is known to be right, by the command line or the settings."""
        user = User(
            email=email,
            email_key=email_key(email),
            email_verified_at=utc_now(),
            password_hash=await self._passwords.hash(SecretStr(password), email, BY_ADMIN),
            full_name=full_name,
            is_superuser=is_superuser,
        )
        async with self._accounts.transaction() as accounts:
            await accounts.users.add(user)
            accounts.security_events.record(EventKind.USER_CREATED, user.id)
        return user

    async def ensure_superuser(self, email: str, password: str) -> bool:
        """Create a superuser if there is none, and return whether this call did.

        Several workers may call it at once.
        """
        async with self._accounts.reading() as accounts:
            if await accounts.users.has_superuser():
                return False
        with suppress(AlreadyExists):
            await self.create(email, password, is_superuser=True)
            return True
        return False

    async def get(self, user_id: int) -> User:
        async with self._accounts.reading() as accounts:
            return found(await accounts.users.get(user_id), user_id)

    async def get_by_email(self, email: str) -> User:
        async with self._accounts.reading() as accounts:
            return found(await accounts.users.get_by_email(email_key(email)), email)

    async def list(self, query: UserQuery) -> Page[UserRead]:
        sort = Sort(query.sort)
        after = self._cursors.read(query.cursor, sort)
        async with self._accounts.reading() as accounts:
            users = await accounts.users.list(query.is_active, sort, after, query.limit + 1)
            total = await accounts.users.total(query.is_active) if query.with_total else None
        return self._cursors.page(Page[UserRead], users, query.limit, sort, total)

    async def update_own(self, principal: Principal, data: UserUpdate) -> User:
        """Change the profile. A new address takes effect later: see `EmailService.verify`."""
        sent = data.model_dump()
        email, password = sent.pop("email", None), sent.pop("current_password", SecretStr(""))
        seen = (
            await self._passwords.check(principal.user_id, password) if email is not None else None
        )
        async with self._accounts.transaction() as accounts:
            user = await (
                lock_checked(accounts, principal, seen)
                if seen
                else accounts.lock_user_of(principal)
            )
            changed(user, user.id, sent)
            accounts.users.tell_change(user.id)
            if email is None:
                return user
            await self._emails.request_confirmation(accounts, user.id, email)
            accounts.security_events.record(EventKind.EMAIL_CHANGE_REQUESTED, user.id)
            # To the address as it is: by the time of the mail it may be another.
            await accounts.jobs.enqueue("send_notice", "change", user.email, current_language().tag)
        return user

    async def change_password(self, principal: Principal, data: PasswordChange) -> None:
        """Set a new password, end every other session, and make the mailed links worthless.

        Somebody who knew the old password may have requested them.
        """
        seen = await self._passwords.check(principal.user_id, data.current_password)
        password_hash = await self._passwords.hash(
            data.new_password, seen.email, f"user {seen.id}", field="new_password"
        )
        async with self._accounts.transaction() as accounts:
            user = await lock_checked(accounts, principal, seen)
            user.password_hash = password_hash
            await accounts.sessions.end_all(user.id, keep=principal.session_id)
            accounts.security_events.record(EventKind.PASSWORD_CHANGED, user.id)
            await self._emails.forget(accounts, user.id)
            await accounts.jobs.enqueue(
                "send_notice", "password_changed", user.email, current_language().tag
            )

    async def set_password(self, user_id: int, password: str) -> None:
        """Set a password for a user, and end every session."""
        await self.update(user_id, UserAdminEdit(password=SecretStr(password)))

    async def update(self, user_id: int, data: UserAdminUpdate, seen_at: str | None = None) -> User:
        """Change a user. Raise Stale if `seen_at` is given and is not the last change's time.

        A form sends everything that it shows: an old one would undo what others have changed.
        """
        changes = data.model_dump()
        password = changes.pop("password", None)
        removes_factor = changes.pop("remove_second_factor", False)
        if password is not None:
            email = (await self.get(user_id)).email
            changes["password_hash"] = await self._passwords.hash(password, email, BY_ADMIN)
        async with self._accounts.transaction() as accounts:
            if False in (changes.get("is_active"), changes.get("is_superuser")):
                await self._keep_a_superuser(accounts, user_id)
            user = found(await accounts.users.lock(user_id), user_id)
            require_unchanged(user, seen_at)
            name, role, was_active = user.full_name, user.is_superuser, user.is_active
            changed(user, user_id, changes)
            accounts.users.tell_change(user_id)
            if not user.is_active or password is not None or user.is_superuser != role:
                await accounts.sessions.end_all(user_id)
            if removes_factor:
                await self._second_factors.switch_off(accounts, user)
            kinds = {
                EventKind.USER_CHANGED: user.full_name != name,
                EventKind.USER_ACTIVATED: user.is_active and not was_active,
                EventKind.USER_DEACTIVATED: was_active and not user.is_active,
                EventKind.ROLE_CHANGED: user.is_superuser != role,
                EventKind.PASSWORD_CHANGED: password is not None,
            }
            for kind, happened in kinds.items():
                if happened:
                    accounts.security_events.record(kind, user_id)
            if not user.is_active or password is not None:
                await accounts.api_keys.revoke_all(user_id)
                await self._emails.forget(accounts, user_id)
            if password is not None:
                await accounts.jobs.enqueue(
                    "send_notice", "password_changed", user.email, current_language().tag
                )
        return user

    async def delete(self, *user_ids: int, seen_at: Mapping[int, str] | None = None) -> None:
        """Delete all of the users or none, with everything that they own.

        Raise Stale if `seen_at` is given and does not have the times of their last changes.
        """
        async with self._accounts.transaction() as accounts:
            for user_id in sorted(user_ids):  # two that delete the same wait, and do not deadlock
                await self._keep_a_superuser(accounts, user_id)
                user = found(await accounts.users.lock(user_id), user_id)
                require_unchanged(user, seen_at[user_id] if seen_at else None)
                await self._delete(accounts, user)

    async def delete_own(self, principal: Principal, password: SecretStr) -> None:
        seen = await self._passwords.check(principal.user_id, password)
        async with self._accounts.transaction() as accounts:
            await self._keep_a_superuser(accounts, seen.id)
            await self._delete(accounts, await lock_checked(accounts, principal, seen))

    async def _delete(self, accounts: Accounts, user: User) -> None:
        for key in (user.picture_key, user.picture_upload_key):
            if key is not None:
                await accounts.jobs.enqueue("delete_picture_file", key)
        await accounts.sessions.end_all(user.id)
        await accounts.api_keys.revoke_all(user.id)
        await accounts.users.delete(user.id)
        accounts.security_events.record(EventKind.USER_DELETED, user.id)

    async def _keep_a_superuser(self, accounts: Accounts, leaving: int) -> None:
        if await accounts.users.lock_superusers() == {leaving}:
            raise LastSuperuser("This is the last active superuser. Create another one first.")


def require_unchanged(user: User, seen_at: str | None) -> None:
    """Raise Stale if `seen_at` is given and is not the time of the last change."""
    if seen_at not in (None, str(user.updated_at)):
        raise Stale("The user has changed since you opened the form. Open it again.")


def changed(user: User | None, user_id: int, changes: dict[str, Any]) -> User:
    user = found(user, user_id)
    for name, value in changes.items():
        setattr(user, name, value)
    return user
