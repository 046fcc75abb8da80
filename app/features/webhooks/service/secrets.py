"""The secrets of webhooks, and the signatures of Standard Webhooks by them."""

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from standardwebhooks import Webhook as Signer

from app.core.database.models import utc_now
from app.core.security.seals import InvalidSeal, Seals
from app.features.webhooks.models import Webhook

SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def previous_secret_until(webhook: Webhook) -> datetime | None:
    """Return the time up to which there are signatures by the previous secret as well."""
    replaced_at = webhook.secret_replaced_at
    return replaced_at + OVERLAP if replaced_at and webhook.sealed_previous_secret else None


class WebhookSecrets:
    """Seals the secrets, which the database holds encrypted only, and signs with them."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def seal(self, owner_id: int, secret: str) -> str:
        return self._seals.seal(owner_id, secret)

    def headers(self, webhook: Webhook, message_id: str, payload: str) -> dict[str, str]:
        """Return the header fields of an attempt that is made now. Raise InvalidSeal."""
        now = utc_now()
        sealed = [webhook.sealed_secret]
        until = previous_secret_until(webhook)
        if webhook.sealed_previous_secret and until and now < until:
            sealed.append(webhook.sealed_previous_secret)
        keys = [self._seals.unseal(webhook.owner_id, each) for each in sealed]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                Signer(key).sign(message_id, now, payload) for key in keys
            ),
        }

    def renew(self, webhook: Webhook) -> bool:
        """Encrypt the secrets with the current SECRET_KEY. Return False if they are unreadable."""
        try:
            webhook.sealed_secret = self._seals.renew(webhook.sealed_secret)
            if webhook.sealed_previous_secret:
                webhook.sealed_previous_secret = self._seals.renew(webhook.sealed_previous_secret)
        except InvalidSeal:
            return False
        return True
