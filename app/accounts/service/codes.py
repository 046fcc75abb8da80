"""Codes of a second factor: those of an authenticator app (TOTP, RFC 6238) and recovery codes."""

import logging
import re
import secrets
from base64 import b32encode

import pyotp
from pydantic import SecretStr
from pyotp.exceptions import OTPVerificationError

from app.accounts.models import EventKind, SecondFactor, User
from app.accounts.repository import Accounts
from app.accounts.service.attempts import Attempts
from app.accounts.service.security_events import SecurityEventService
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import WrongCode
from app.core.security.seals import InvalidSeal, Seals
from app.core.security.tokens import digest
from app.core.translation import current_language, mark

APP_CODE = re.compile(r"[0-9]{6}")
SEPARATORS = re.compile(r"[\s-]+")
ALLOWED_DRIFT = 1  # time steps of 30 seconds, before and after
RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = 15
WRONG_CODE = mark("The code is wrong, or was used already.")
SIGNED_IN_BUCKET = "signed in"  # what attempts are counted by, besides the account
UNKNOWN_KEY = (
    "The second factor of user %s is encrypted with another key than SECRET_KEY and "
    "SECRET_KEY_PREVIOUS: its app's codes are refused"
)
logger = logging.getLogger("app.accounts")


class SecondFactorCodes:
    """Accepts codes, each of them once."""

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        attempts: Attempts,
        security_events: SecurityEventService,
        seals: Seals,
    ) -> None:
        self._accounts = accounts
        self._attempts = attempts
        self._security_events = security_events
        self._seals = seals

    def renew_seal(self, factor: SecondFactor) -> bool:
        """Encrypt a secret with the current key. Return False if its key is unknown."""
        try:
            factor.sealed_secret = self._seals.renew(factor.sealed_secret)
        except InvalidSeal:
            logger.error(UNKNOWN_KEY, factor.user_id)
            return False
        return True

    async def check(self, user_id: int, code: SecretStr) -> None:
        """Use a code of a user who is signed in. Raise Forbidden when it is wrong."""
        await self._attempts.code(user_id, SIGNED_IN_BUCKET)
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(user_id)
            if user and await self.accept(accounts, user, code):
                return
        await self.record_refusal(user_id)
        raise WrongCode(WRONG_CODE)

    async def accept(self, accounts: Accounts, user: User, code: SecretStr) -> bool:
        """Use a code of a locked user, and return whether it is right and new."""
        user_id = user.id
        given = normalize_code(code)
        if APP_CODE.fullmatch(given):
            factor = await accounts.second_factors.get(user_id)
            step = self._step_of(factor, given) if factor else None
            return step is not None and await accounts.second_factors.use_step(user_id, step)
        is_used = await accounts.second_factors.use_code(user_id, digest(given))
        if is_used:
            accounts.security_events.record(EventKind.RECOVERY_CODE_USED, user_id, by=user_id)
            await accounts.jobs.enqueue(
                "send_notice", "recovery_code_used", user.email, current_language().tag
            )
        return is_used

    async def record_refusal(self, user_id: int) -> None:
        await self._security_events.record_failure(EventKind.SECOND_FACTOR_CHECK, user_id=user_id)

    async def replace_recovery_codes(self, accounts: Accounts, user_id: int) -> list[str]:
        """Return new recovery codes. Only their hashes are stored, so they cannot be read later."""
        codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
        hashes = [digest(normalize_code(SecretStr(code))) for code in codes]
        await accounts.second_factors.replace_codes(user_id, hashes)
        return codes

    def _step_of(self, factor: SecondFactor, code: str) -> int | None:
        try:
            secret = self._seals.unseal(factor.user_id, factor.sealed_secret)
        except InvalidSeal:
            logger.error(UNKNOWN_KEY, factor.user_id)
            return None
        return step_of(secret, code)


def normalize_code(code: SecretStr) -> str:
    """Return a code as it is stored, however it is grouped."""
    return SEPARATORS.sub("", code.get_secret_value()).upper()


def step_of(secret: str, code: str) -> int | None:
    """Return the time step of an app's code, or None if it is of none around this time."""
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(
            code, for_time=utc_now(), valid_window=ALLOWED_DRIFT
        )
    except OTPVerificationError:
        return None


def new_recovery_code() -> str:
    """Return 120 random bits, such as ABCD-EFGH-IJKL-MNOP-QRST-UVWX."""
    text = b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))
