"""The two ceremonies of WebAuthn, by the library: a passkey is made, and a passkey answers.

A passkey has to be discoverable and to verify its user, by a PIN or biometrics: so it is two
factors, and signs in without a name and a password.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import webauthn
from webauthn.helpers import bytes_to_base64url, options_to_json_dict
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from app.features.passkeys.models import Passkey
from app.features.passkeys.schemas import CHALLENGE_LIFETIME

TIMEOUT_MILLISECONDS = CHALLENGE_LIFETIME.seconds * 1000
REQUIRED = UserVerificationRequirement.REQUIRED
VerifiedT = TypeVar("VerifiedT")


class InvalidAnswer(ValueError):
    """The answer of a browser is forged, malformed, or of another challenge."""


class Ceremonies:
    """`rp_id` is the name of the site's host, which a passkey is bound to."""

    def __init__(self, rp_id: str, rp_name: str, origin: str) -> None:
        self._rp_id = rp_id
        self._rp_name = rp_name
        self._origin = origin

    def creation_options(
        self, challenge: bytes, user_handle: str, user_name: str, existing: Iterable[Passkey]
    ) -> dict[str, Any]:
        options = webauthn.generate_registration_options(
            rp_id=self._rp_id,
            rp_name=self._rp_name,
            user_id=webauthn.base64url_to_bytes(user_handle),
            user_name=user_name,
            challenge=challenge,
            timeout=TIMEOUT_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=REQUIRED
            ),
            exclude_credentials=[descriptor(passkey) for passkey in existing],
        )
        return options_to_json_dict(options)

    def request_options(self, challenge: bytes, allowed: Iterable[Passkey]) -> dict[str, Any]:
        """Return the options for one of the passkeys, or for any if there are none."""
        options = webauthn.generate_authentication_options(
            rp_id=self._rp_id,
            challenge=challenge,
            timeout=TIMEOUT_MILLISECONDS,
            allow_credentials=[descriptor(passkey) for passkey in allowed],
            user_verification=REQUIRED,
        )
        return options_to_json_dict(options)

    def verify_creation(self, credential: dict[str, Any], challenge: bytes) -> Passkey:
        """Return the passkey that was made, without its user and its name. Raise InvalidAnswer."""
        verified = run(
            lambda: webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        )
        return Passkey(
            credential_id=bytes_to_base64url(verified.credential_id),
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            transports=" ".join(transports_of(credential)),
            is_backed_up=verified.credential_backed_up,
        )

    def verify_answer(
        self, credential: dict[str, Any], challenge: bytes, passkey: Passkey
    ) -> tuple[int, bool]:
        """Return the count of the answer, and whether the passkey is backed up.

        Raise InvalidAnswer. The count is left to the caller, who compares it as it is stored.
        """
        verified = run(
            lambda: webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        )
        return verified.new_sign_count, verified.credential_backed_up


def run(verify: Callable[[], VerifiedT]) -> VerifiedT:
    try:
        return verify()
    except Exception as error:  # The parsers below the library raise errors of many kinds.
        raise InvalidAnswer(str(error)) from error


def descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(
        id=webauthn.base64url_to_bytes(passkey.credential_id),
        transports=[AuthenticatorTransport(each) for each in passkey.transports.split()],
    )


def transports_of(credential: dict[str, Any]) -> list[str]:
    """Return the transports that the library knows, each once."""
    response = credential.get("response")
    given = response.get("transports") if isinstance(response, dict) else None
    known = {each.value for each in AuthenticatorTransport}
    return sorted({each for each in given or () if isinstance(each, str)} & known)
