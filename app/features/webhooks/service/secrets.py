"""The secrets of webhooks, and the signatures of Standard Webhooks by them."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from standardwebhooks import Webhook as Signer

from app.core.database.models import utc_now
from app.core.security.seals import InvalidSeal, Seals
from app.features.webhooks.models import Webhook

SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
MAX_PREVIOUS_SECRETS = 5


def new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def sealed_previous_secrets(webhook: Webhook, now: datetime) -> Sequence[str]:
    """Return the secrets whose signatures are sent as well, the newest first."""
    replaced_at = webhook.secret_replaced_at
    if replaced_at is None or now >= replaced_at + OVERLAP:
        return []
    return (webhook.sealed_previous_secret or "").split()


class WebhookSecrets:
    """Seals the secrets, which the database holds encrypted only, and signs with them."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def seal(self, owner_id: int, secret: str) -> str:
        return self._seals.seal(owner_id, secret)

    def replace(self, webhook: Webhook, secret: str, now: datetime) -> None:
        """Set a new secret, and keep those before it for OVERLAP.

        The receiver may have an earlier one than the last: if the response with a new secret is
        lost, its owner replaces it again.
        """
        previous = [webhook.sealed_secret, *sealed_previous_secrets(webhook, now)]
        webhook.sealed_previous_secret = " ".join(previous[:MAX_PREVIOUS_SECRETS])
        webhook.sealed_secret = self.seal(webhook.owner_id, secret)
        webhook.secret_replaced_at = now

    def headers(self, webhook: Webhook, message_id: str, payload: str) -> dict[str, str]:
        """Return the header fields of an attempt that is made now. Raise InvalidSeal."""
        now = utc_now()
        keys = [self._seals.unseal(webhook.owner_id, webhook.sealed_secret)]
        for sealed in sealed_previous_secrets(webhook, now):
            with suppress(InvalidSeal):  # It may have been replaced because its key was lost.
                keys.append(self._seals.unseal(webhook.owner_id, sealed))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                Signer(key).sign(message_id, now, payload) for key in keys
            ),
        }

    def renew(self, webhook: Webhook) -> bool:
        """Encrypt the secrets with the current SECRET_KEY. Return False if it is unreadable."""
        try:
            webhook.sealed_secret = self._seals.renew(webhook.sealed_secret)
        except InvalidSeal:
            return False
        previous = list[str]()
        for sealed in sealed_previous_secrets(webhook, utc_now()):
            with suppress(InvalidSeal):  # It may have been replaced because its key was lost.
                previous.append(self._seals.renew(sealed))
        webhook.sealed_previous_secret = " ".join(previous) or None
        return True
