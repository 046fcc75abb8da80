import unicodedata
from typing import Any

import pytest
from passlib.context import CryptContext

from app.core.security.passwords import (
    COMMON_PASSWORDS,
    MIN_PASSWORD_CHARACTERS,
    Passwords,
    common_words,
    fold,
    is_common,
    is_one_of,
)

COMPOSED = unicodedata.normalize("NFC", "Käsebrötchen fünf")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.fixture
async def passwords() -> Passwords:
    return Passwords(1)


@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED])
async def test_password_in_another_unicode_form_matches(passwords: Passwords, typed: str) -> None:
    for kept in (COMPOSED, DECOMPOSED):
        assert await passwords.verify(typed, await passwords.hash(kept)) == (True, None)


async def test_hash_of_an_unnormalized_password_matches_and_is_renewed(
    passwords: Passwords,
) -> None:
    old = CryptContext(["argon2"], argon2__parallelism=1).hash(DECOMPOSED)
    assert await passwords.verify(COMPOSED, old) == (False, None)
    matches, new = await passwords.verify(DECOMPOSED, old)
    assert matches
    assert new is not None
    assert await passwords.verify(COMPOSED, new) == (True, None)
    assert await passwords.verify("another one", old) == (False, None)


async def test_missing_hash_costs_as_many_verifications_as_a_wrong_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[Any]()
    verify = passwords._context.verify_and_update

    def count(*arguments: Any) -> Any:
        calls.append(arguments)
        return verify(*arguments)

    monkeypatch.setattr(passwords._context, "verify_and_update", count)
    hash_ = await passwords.hash("another one")
    for password, expected in (("plain text", 1), (DECOMPOSED, 2)):
        for stored in (hash_, None):
            calls.clear()
            assert (await passwords.verify(password, stored))[0] is False
            assert len(calls) == expected


def test_common_passwords_are_stored_in_the_compared_form() -> None:
    assert {fold(password) for password in COMMON_PASSWORDS} == COMMON_PASSWORDS


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "Password 123!",
        "\uff50assword123",
        "1234567890",
        "Responsibility",
        "sunshine2026",
        "2026-Sunshine",
    ],
)
def test_common_password_is_recognized_in_any_spelling(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "          ",
        "пароль пароль",
        "🦉" * 10,
        "sun2026shine",
    ],
)
def test_ordinary_password_is_not_common(password: str) -> None:
    assert not is_common(password)


def test_more_than_ten_thousand_long_enough_passwords_are_refused() -> None:
    words = common_words().decode().split()
    assert len([word for word in words if len(word) >= MIN_PASSWORD_CHARACTERS]) > 10_000


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("ann@example.com", True),
        ("Ann Example Com 2026", True),
        ("2026annexample.com", True),
        ("correct horse battery", False),
        ("!!!!!!!!!!", False),
        ("1234512345", False),
    ],
)
def test_name_is_recognized_with_digits_around_it(password: str, expected: bool) -> None:
    assert is_one_of(["ann@example.com", "---", "99"], password) is expected
