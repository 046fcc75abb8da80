"""The name, the description, the author and the license of a project."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

MAX_NAME_CHARACTERS = 40
MAX_DESCRIPTION_CHARACTERS = 200
NOT_IN_NAMES = set('<>"\\`')  # They would need quoting in HTML, mail headers and Markdown.
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
AUTHOR = re.compile(r'(?P<name>[^<>"\\]*[^<>"\\\s])(?: <(?P<email>[^<>\s"\\]+@[^<>\s"\\]+)>)?')


@dataclass(frozen=True)
class Identity:
    name: str
    slug: str
    description: str
    author: str | None = None
    license: str | None = None


def check_identity(identity: Identity, root: Path) -> None:
    """Stop with one line if the project cannot be called so."""
    if problem := problem_of(identity, root):
        raise SystemExit(problem)


def problem_of(identity: Identity, root: Path) -> str | None:
    if not is_name(identity.name):
        return (
            f"The name must have 1 to {MAX_NAME_CHARACTERS} characters, with a letter or a digit,"
            f" and none of {' '.join(sorted(NOT_IN_NAMES))} or a line break."
        )
    if not SLUG.fullmatch(identity.slug):
        return "Set --slug to a letter, then letters, digits and hyphens, such as acme-shop."
    if re.search(rf"^{identity.slug}==", (root / "requirements/dev.txt").read_text(), re.MULTILINE):
        return f"The project depends on a package called {identity.slug}. Set another --slug."
    if not is_line(identity.description, MAX_DESCRIPTION_CHARACTERS):
        return f"The description must be one line of 1 to {MAX_DESCRIPTION_CHARACTERS} characters."
    if identity.author is not None and not (
        AUTHOR.fullmatch(identity.author) and is_line(identity.author, MAX_DESCRIPTION_CHARACTERS)
    ):
        return 'The author must be a name, or a name and an address: "Ann <ann@example.com>".'
    return None if identity.license is None else license_problem(identity.license)


def is_name(text: str) -> bool:
    has_letter = any(map(str.isalnum, text))
    return is_line(text, MAX_NAME_CHARACTERS) and has_letter and not NOT_IN_NAMES & set(text)


def is_line(text: str, max_characters: int) -> bool:
    is_short = len(text) <= max_characters
    return is_short and text.isprintable() and text == text.strip() != ""


def license_problem(expression: str) -> str | None:
    try:
        canonicalize_license_expression(expression)
    except InvalidLicenseExpression as error:
        return f"{error}. Use SPDX identifiers, or LicenseRef-Proprietary."
    return None


def slug_of(name: str) -> str:
    """Return the name in ASCII letters, digits and hyphens; empty if it has none of these."""
    letters = unicodedata.normalize("NFKD", name.replace("'", "")).encode("ascii", "ignore")
    return "-".join(re.findall("[a-z0-9]+", letters.decode().lower()))
