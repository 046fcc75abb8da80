"""The scopes that all slices declare: SCOPES of their `schemas`, and SUPERUSER_SCOPES.

Likewise the titles of their security events: EVENT_TITLES, and EVENT_FAILURES.
"""

from functools import cache

from app.accounts.schemas import SCOPES, SUPERUSER_SCOPES
from app.discovery import discover


def all_scopes() -> dict[str, str]:
    """Return what each scope allows, in words."""
    return declared("SCOPES") | declared("SUPERUSER_SCOPES")


@cache
def allowed_scopes(is_superuser: bool) -> frozenset[str]:
    return frozenset(all_scopes() if is_superuser else declared("SCOPES"))


@cache
def key_scopes(is_superuser: bool) -> frozenset[str]:
    """Return the scopes that an API key can have: it never manages accounts or keys."""
    return allowed_scopes(is_superuser) - SCOPES.keys() - SUPERUSER_SCOPES.keys()


@cache
def declared(name: str) -> dict[str, str]:
    texts = dict[str, str]()
    for module in discover("schemas"):
        texts |= getattr(module, name, {})
    return texts
