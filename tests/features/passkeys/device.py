"""A device that makes passkeys and answers with them, and that can be made to lie."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "http://localhost:8000"
PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
Json = dict[str, Any]


def base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Device:
    """A device with one passkey, whose key and count stay with it."""

    origin: str = ORIGIN
    flags: int = PRESENT | VERIFIED
    count: int = 0
    counts: bool = True
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    user_handle: str = ""

    def make(self, options: Json, **changes: Any) -> Json:
        """Make the passkey, as `navigator.credentials.create` does."""
        self.user_handle = options["user"]["id"]
        data = self._authenticator_data(options["rp"]["id"], ATTESTED, changes)
        numbers = self.key.public_key().public_numbers()
        cose = {
            1: 2,
            3: -7,
            -1: 1,
            -2: numbers.x.to_bytes(32, "big"),
            -3: numbers.y.to_bytes(32, "big"),
        }
        length = len(self.credential_id).to_bytes(2, "big")
        data += bytes(16) + length + self.credential_id + cbor2.dumps(cose)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options, changes)
        return self._credential(
            {
                "clientDataJSON": base64url(client_data),
                "attestationObject": base64url(attestation),
                "transports": ["internal", "hybrid", "unknown"],
            }
        )

    def answer(self, options: Json, **changes: Any) -> Json:
        """Answer a challenge, as `navigator.credentials.get` does."""
        self.count += self.counts
        data = self._authenticator_data(options["rpId"], 0, changes)
        client_data = self._client_data("webauthn.get", options, changes)
        key = changes.get("key", self.key)
        signature = key.sign(data + sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential(
            {
                "clientDataJSON": base64url(client_data),
                "authenticatorData": base64url(data),
                "signature": base64url(signature),
                "userHandle": changes.get("user_handle", self.user_handle),
            }
        )

    def _authenticator_data(self, rp_id: str, flags: int, changes: Json) -> bytes:
        hashed = sha256(changes.get("rp_id", rp_id).encode()).digest()
        given = flags | changes.get("flags", self.flags)
        count: int = changes.get("count", self.count)
        return hashed + bytes([given]) + count.to_bytes(4, "big")

    def _client_data(self, type_: str, options: Json, changes: Json) -> bytes:
        data = {
            "type": changes.get("type", type_),
            "challenge": changes.get("challenge", options["challenge"]),
            "origin": changes.get("origin", self.origin),
            "crossOrigin": False,
        }
        return json.dumps(data).encode()

    def _credential(self, response: Json) -> Json:
        id_ = base64url(self.credential_id)
        return {"id": id_, "rawId": id_, "type": "public-key", "response": response}
