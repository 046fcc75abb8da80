"""The identity that a request acts with, whichever credential it was sent with."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request."""

    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    is_superuser: bool
