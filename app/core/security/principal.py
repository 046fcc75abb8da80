"""The identity that a request acts with, whichever credential it was sent with."""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class Profile(NamedTuple):
    """What the pages show of the user who is signed in."""

    email: str
    full_name: str | None
    is_verified: bool
    picture: str | None = None
    """What identifies the picture, or None if there is none."""

    @property
    def initials(self) -> str:
        first, *others = (self.full_name or "").split() or [self.email]
        return "".join(word[0] for word in (first, *others[-1:])).upper()


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request.

    The session of a program that uses an API key is the key: `session_id` is the key's id.
    """

    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    is_superuser: bool
    profile: Profile | None = None  # only for a browser's session
    is_api_key: bool = False
    lacks_second_factor: bool = False  # a superuser who has no rights without one
    lacks_confirmation: bool = False  # a superuser whose session was confirmed too long ago

    @property
    def is_browser(self) -> bool:
        return self.profile is not None

    def sees_all(self, resource: str) -> bool:
        """Return whether the rows of all users are visible, by the scope `RESOURCE:all`."""
        return f"{resource}:all" in self.scopes
