"""Links in mails that confirm an address or reset a password."""

import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta
from uuid import UUID, uuid4

from app.accounts.models import EmailToken, EventKind, User, email_key
from app.accounts.repository import Accounts
from app.accounts.schemas import ClientInfo, EmailUndo, EmailVerification, PasswordReset
from app.accounts.service.attempts import Attempts
from app.accounts.service.passwords import AccountPasswords
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Invalid
from app.core.jobs.mail import Mailer
from app.core.security.principal import Principal
from app.core.security.tokens import digest
from app.core.translation import current_language

VERIFY, RESET, UNDO = "verify", "reset", "undo"
LIFETIMES = {VERIFY: timedelta(days=2), RESET: timedelta(minutes=30), UNDO: timedelta(hours=72)}
# A thief may add a passkey before changing the address. The owner is mailed of it, and has had this
# time to react at an address that was still the owner's.
NOTICE = LIFETIMES[UNDO]
PAGES = {VERIFY: "verify-email", RESET: "reset-password", UNDO: "undo-email"}


class EmailService:
    """Mails links, and accepts their tokens.

    Jobs carry ids only. A token is derived from its id when its mail is written, so that neither
    the database nor the queue holds what would open an account.
    """

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: AccountPasswords,
        attempts: Attempts,
        mailer: Mailer,
        *,
        key: bytes,
        site_url: str,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._attempts = attempts
        self._mailer = mailer
        self._key = key
        self._site_url = site_url

    async def request_confirmation(self, accounts: Accounts, user_id: int, email: str) -> None:
        """Mail a link by which the reader of `email` makes it the user's."""
        token = await self._add_token(accounts, VERIFY, user_id, email)
        await accounts.jobs.enqueue("send_token_mail", str(token.id), current_language().tag)

    async def request_reset(self, email: str, client: ClientInfo) -> None:
        await self._request(RESET, email, client)

    async def request_verification(self, email: str, client: ClientInfo) -> None:
        await self._request(VERIFY, email, client)

    async def verify(
        self, data: EmailVerification, client: ClientInfo, visitor: Principal | None = None
    ) -> None:
        """Confirm an address. Raise Invalid for the token, and Forbidden for the password.

        The reader of the mail need not be the one who signed up with the address: an account whose
        password somebody else knows must not become the reader's.
        """
        await self._attempts.mail_token(client.network)
        token_hash = digest(data.token.get_secret_value())
        async with self._accounts.reading() as accounts:
            token = await accounts.email_tokens.get_valid(token_hash, VERIFY)
        if token is None:
            raise invalid_token()
        if visitor is None or visitor.user_id != token.user_id:
            await self._passwords.check(token.user_id, data.current_password)
        async with self._accounts.transaction() as accounts:
            user, used = await self._consume(accounts, token_hash, VERIFY)
            is_new = user.email_key != email_key(used.email)
            # An address that was never confirmed may be a stranger's, typed by mistake.
            if user.is_verified and is_new:
                undo = self._new_token(UNDO, user.id, user.email)
                await accounts.email_tokens.add(undo)
                await accounts.jobs.enqueue("send_token_mail", str(undo.id), current_language().tag)
            user.email, user.email_key = used.email, email_key(used.email)
            user.email_verified_at = utc_now()
            await accounts.users.add(user)  # conflicts when another has the address by now
            accounts.users.tell_change(user.id)
            kind = EventKind.EMAIL_CHANGED if is_new else EventKind.EMAIL_CONFIRMED
            accounts.security_events.record(kind, user.id, by=user.id)
            # A link to the old address, which may be lost to another, sets no password any more.
            await self.forget(accounts, user.id)

    async def undo_change(self, data: EmailUndo, client: ClientInfo) -> None:
        """Give an account its old address back. Raise Invalid, or Conflict when it is taken.

        It ends every session and API key, and discards the password, the recovery codes and what
        was added within three days before the change or after it, to sign in or as a second factor:
        the person who changed the address knew the password, and may have added others. What the
        owner has had for longer stays.
        """
        await self._attempts.mail_token(client.network)
        token_hash = digest(data.token.get_secret_value())
        async with self._accounts.reading() as accounts:
            token = await accounts.email_tokens.get_valid(token_hash, UNDO)
        if token is None:
            raise invalid_token()
        async with self._accounts.transaction() as accounts:
            user, used = await self._consume(accounts, token_hash, UNDO)
            user.email, user.email_key = used.email, email_key(used.email)
            user.email_verified_at = utc_now()
            await accounts.users.add(user)  # conflicts when another has the address by now
            since = used.expires_at - LIFETIMES[UNDO] - NOTICE
            await accounts.users.discard_credentials(user, since)
            await accounts.second_factors.discard(user.id, since)
            await accounts.sessions.end_all(user.id, by=user.id)
            await accounts.api_keys.revoke_all(user.id, by=user.id)
            accounts.security_events.record(EventKind.EMAIL_RESTORED, user.id, by=user.id)
            await self.forget(accounts, user.id)
            await accounts.email_tokens.forget_later(used)  # those of the thief's own addresses

    async def forget(self, accounts: Accounts, user_id: int) -> None:
        """Make the mailed links worthless, except those that undo a change of the address."""
        await accounts.email_tokens.forget(user_id, VERIFY, RESET)

    async def reset_password(self, data: PasswordReset, client: ClientInfo) -> None:
        """Set a new password, and end every session. This confirms the address, too."""
        await self._attempts.mail_token(client.network)
        token_hash = digest(data.token.get_secret_value())
        async with self._accounts.reading() as accounts:
            token = await accounts.email_tokens.get_valid(token_hash, RESET)
        if token is None:
            raise invalid_token()  # before the cost of hashing
        password_hash = await self._passwords.hash(data.password, token.email, client.network)
        async with self._accounts.transaction() as accounts:
            user, used = await self._consume(accounts, token_hash, RESET)
            if user.email != used.email:
                raise invalid_token()
            user.password_hash = password_hash
            user.email_verified_at = user.email_verified_at or utc_now()
            await accounts.sessions.end_all(user.id, by=user.id)
            await accounts.api_keys.revoke_all(user.id, by=user.id)
            accounts.security_events.record(EventKind.PASSWORD_RESET, user.id, by=user.id)
            # And a change of the address, by a person who knew the old password.
            await self.forget(accounts, user.id)
            await accounts.jobs.enqueue(
                "send_notice", "password_changed", user.email, current_language().tag
            )

    async def start(self, purpose: str, email: str) -> None:
        """Mail a link, if the address has an account. A background job calls it."""
        key = email_key(email)
        async with self._accounts.transaction() as accounts:
            found = await accounts.users.get_by_email(key)
            user = await accounts.users.lock(found.id) if found else None
            if user is None or not user.is_active or user.email_key != key:
                return  # The address may have become another while this waited.
            if purpose == VERIFY and user.is_verified:
                return
            # The same link again: a stranger who asks does not make the first one worthless.
            until = utc_now() + LIFETIMES[purpose] / 2
            token = await accounts.email_tokens.get_sent(user, purpose, until)
            token = token or await self._add_token(accounts, purpose, user.id, user.email)
            await accounts.jobs.enqueue("send_token_mail", str(token.id), current_language().tag)

    async def send_token_mail(self, token_id: UUID) -> None:
        """Send the mail of a token, unless it is used or replaced. A background job calls it."""
        async with self._accounts.reading() as accounts:
            token = await accounts.email_tokens.get(token_id)
        if token is not None:
            link = f"{self._site_url}/{PAGES[token.purpose]}?token={self._secret_of(token_id)}"
            hours = LIFETIMES[token.purpose] / timedelta(hours=1)
            await self._mailer.send(token.email, token.purpose, link=link, hours=hours)

    async def send_notice_mail(self, kind: str, email: str) -> None:
        """Send the mail of a notice. A background job calls it."""
        await self._mailer.send(email, kind, link=f"{self._site_url}/forgot-password")

    async def _consume(
        self, accounts: Accounts, token_hash: str, purpose: str
    ) -> tuple[User, EmailToken]:
        """Use a token, and return its user. The user is locked before the token, as everywhere."""
        token = await accounts.email_tokens.get_valid(token_hash, purpose)
        user = await accounts.users.lock(token.user_id) if token else None
        used = await accounts.email_tokens.consume(token_hash, purpose)
        if user is None or used is None or not user.is_active:
            raise invalid_token()
        return user, used

    async def _request(self, purpose: str, email: str, client: ClientInfo) -> None:
        """Queue the look-up, so that the response takes the same time for every address."""
        await self._attempts.mail(client.network, email_key(email))
        async with self._accounts.transaction() as accounts:
            await accounts.jobs.enqueue("request_mail", purpose, email, current_language().tag)

    async def _add_token(
        self, accounts: Accounts, purpose: str, user_id: int, email: str
    ) -> EmailToken:
        token = self._new_token(purpose, user_id, email)
        await accounts.email_tokens.replace(token)
        await accounts.email_tokens.clean_up()
        return token

    def _new_token(self, purpose: str, user_id: int, email: str) -> EmailToken:
        token_id = uuid4()
        return EmailToken(
            id=token_id,
            user_id=user_id,
            purpose=purpose,
            email=email,
            token_hash=digest(self._secret_of(token_id)),
            expires_at=utc_now() + LIFETIMES[purpose],
        )

    def _secret_of(self, token_id: UUID) -> str:
        """Return the token of an id: 256 bits that cannot be computed without the key."""
        token = urlsafe_b64encode(hmac.digest(self._key, token_id.bytes, "sha256")).decode()
        return token.rstrip("=")  # at the end of a link, mail programs may lose it


def invalid_token() -> Invalid:
    return Invalid("This link is invalid or has expired.", "body", "token")
