"""`python -m app.translations.catalogs [LANGUAGE ...]`: extract the texts, and update the catalogs.

A language that has no catalog yet gets one. docs/translating.md says how to go on.
"""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module

from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from app.core.about import DESCRIPTION
from app.core.translation import CATALOG, ENGLISH, FOLDER, languages

APP = FOLDER.parent
TEMPLATES = "**/templates/**.*"
METHODS = [("project/**", "ignore"), ("**.py", "python"), (TEMPLATES, "jinja2")]
OPTIONS = {TEMPLATES: {"trimmed": "true", "silent": "false"}}
# Errors of `app.core.errors` that pages show. They do not show those that are left out.
ERRORS = (
    "AlreadyExists", "Conflict", "Forbidden", "InUse", "InProgress", "Invalid", "KeyReused",
    "LastSuperuser", "MissingScope", "PasswordRequired", "Stale", "TooLarge", "TooManyAtOnce",
    "WrongStatus",
)  # fmt: skip
# The functions whose arguments are extracted: the first one, or those with these positions.
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("_", "gettext", "mark", *ERRORS)),
    **dict.fromkeys(("ngettext", "mark_plural"), (1, 2)),
    "InvalidTokenRequest": (2,),
}


def extract() -> Catalog:
    """Return a catalog of all texts, which have no translations yet."""
    catalog = Catalog()
    catalog.add(DESCRIPTION, locations=[("core/about.py", 1)])
    found = [*extract_from_dir(APP, METHODS, OPTIONS, KEYWORDS), *_docstrings()]
    if (APP / "admin.py").exists():
        found += _admin_texts()
    for name, line, text, comments, context in found:
        catalog.add(text, None, [(name, line)], auto_comments=comments, context=context)
    return catalog


def _docstrings() -> Iterator[tuple[str, int, str, list[str], None]]:
    """Yield the docstrings that the lab shows: each has a title and a text."""
    for file in sorted(APP.glob("features/lab/step*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        for text in docstring.split("\n\n", 1):
            yield str(file.relative_to(APP)), 1, text, [], None


def _admin_texts() -> Iterator[tuple[str, int, str, list[str], None]]:
    """Yield the texts of the admin's views, whose labels are made of the names of fields."""
    views, texts = import_module("app.admin").views(), import_module("app.web.admin_site.texts")
    found = {
        (f"{view.__module__.replace('.', '/').removeprefix('app/')}.py", str(text))
        for view in views
        for text in texts.texts_of(view)
    }
    for file, text in sorted(found):
        yield file, 1, text, [], None


def update(tag: str) -> None:
    """Add the new texts to the catalog of a language, and remove those that are gone."""
    locale, template = Locale.parse(tag, sep="-"), extract()
    file = FOLDER / str(locale) / CATALOG
    catalog = Catalog(locale, header_comment="", fuzzy=False)
    if file.exists():
        with file.open("rb") as source:
            catalog = read_po(source, locale)
        template.creation_date = catalog.creation_date  # An update without changes writes none.
    catalog.update(template, no_fuzzy_matching=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        write_po(target, catalog, width=100, ignore_obsolete=True, include_lineno=False)
    missing = sum(not is_translated(message) for message in catalog if message.id)
    print(f"{file}: {len(catalog)} texts, {missing} without a translation")


def is_translated(message: Message) -> bool:
    forms = message.string if isinstance(message.string, tuple | list) else [message.string]
    return all(forms) and not message.fuzzy


if __name__ == "__main__":
    for name in sys.argv[1:] or [tag for tag in languages() if tag != ENGLISH]:
        update(name)
