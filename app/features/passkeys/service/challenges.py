"""Challenges, which a passkey answers once.

They are sealed and handed out, and not stored: anybody may ask for one. What is stored, until it
expires, is that one was answered.
"""

import secrets
from typing import NamedTuple

from pydantic import SecretStr

from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import InvalidTokenRequest
from app.core.security.seals import InvalidSeal, Seals
from app.core.security.tokens import digest
from app.features.passkeys.repository import Passkeys
from app.features.passkeys.schemas import CHALLENGE_LIFETIME, Challenge, Purpose

CHALLENGE_BYTES = 32
ANYBODY = 0  # The user of a challenge, before it is known who signs in.


class Use(NamedTuple):
    """What a challenge is for, of which user, and of which session or sign-in."""

    purpose: Purpose
    user_id: int = ANYBODY
    secret: str = ""

    @property
    def bound_to(self) -> str:
        return digest(self.secret) if self.secret else ""


class Challenges:
    def __init__(self, units: UnitsOfWork[Passkeys], seals: Seals) -> None:
        self._units = units
        self._seals = seals

    def issue(self, use: Use, user_handle: str = "") -> tuple[bytes, str]:
        """Return a challenge, and the token by which it is recognized."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        waiting = Challenge(
            purpose=use.purpose,
            challenge=challenge.hex(),
            bound_to=use.bound_to,
            user_handle=user_handle,
        )
        return challenge, self._seals.seal(use.user_id, waiting.model_dump_json())

    async def use(self, token: SecretStr, use: Use) -> Challenge:
        """Return the challenge of a token, once. Raise InvalidTokenRequest.

        It is used up before its answer is looked at, and also by one that is wrong.
        """
        try:
            text = self._seals.unseal(use.user_id, token.get_secret_value(), CHALLENGE_LIFETIME)
        except InvalidSeal:
            raise expired() from None
        waiting = Challenge.model_validate_json(text)
        if (waiting.purpose, waiting.bound_to) != (use.purpose, use.bound_to):
            raise expired()
        async with self._units.transaction() as unit:
            expires_at = utc_now() + CHALLENGE_LIFETIME
            if not await unit.used_challenges.use(digest(waiting.challenge), expires_at):
                raise expired()
        return waiting

    async def clean_up(self) -> None:
        """Forget the used challenges that have expired."""
        deleted = 1
        while deleted:
            async with self._units.transaction() as unit:
                deleted = await unit.used_challenges.clean_up()


def expired() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_grant", "The request for the passkey has expired, or was used before. Try again."
    )
