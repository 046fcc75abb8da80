"""The one identity of a request."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request."""

    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    is_superuser: bool
