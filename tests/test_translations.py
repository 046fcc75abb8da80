"""Every text can be translated, and every language is complete: see docs/translating.md."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from app.core.about import DESCRIPTION
from app.core.translation import CATALOG, FOLDER
from app.translations.catalogs import ERRORS, extract, is_translated
from tests.databases import ROOT
from tests.slices import needs, slices

UNTRANSLATED = [
    name
    for name in slices()
    if not getattr(import_module(f"app.features.{name}"), "IS_TRANSLATED", True)
]
CATALOGS = sorted(FOLDER.glob(f"*/{CATALOG}"))
TEMPLATES = [
    path
    for path in sorted((ROOT / "app").rglob("templates/**/*.*"))
    if path.suffix in (".html", ".txt")
]
VISIBLE_ATTRIBUTES = {"alt", "aria-label", "placeholder", "title"}
WORDS = re.compile(r"[^\W\d_]{2}")
TEXT = re.compile(r"[A-Z][a-z]|\w \w")  # A constant that is no name, such as "Save" or "no name".
# Marked texts, code of Jinja, and the blocks and macros whose content is inside of a tag.
NOT_TEXT = re.compile(
    r"(?s){% trans.*?{% endtrans %}|{#.*?#}|{% block (layout|\w+_classes) %}.*?{% endblock %}"
    r"|{% macro attributes.*?{% endmacro %}|{{.*?}}|{%.*?%}"
)
FUNCTIONS = {"_", "gettext", "ngettext"}
PLACEHOLDERS = re.compile(r"%\(\w+\)s|\{\w+(?:!r)?\}")
environment = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])


@pytest.fixture(scope="module")
def texts() -> Catalog:
    return extract()


class VisibleWords(HTMLParser):
    """Collects the words of a page that are not in `code` or an element with `translate="no"`."""

    def __init__(self) -> None:
        super().__init__()
        self.found = list[str]()
        self._hidden = list[str]()  # the open elements from the first one that is not translated

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [
            value for name, value in attrs if name in VISIBLE_ATTRIBUTES and value is not None
        ]
        if self._hidden or tag == "code" or given.get("translate") == "no":
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def unmarked_words(source: str) -> list[str]:
    """Return the visible words of a template that are written without `_()` or `{% trans %}`."""
    parser = VisibleWords()
    parser.feed(NOT_TEXT.sub("", source))
    return [text.strip() for text in parser.found if WORDS.search(text)]


def unmarked_constants(node: nodes.Node) -> Iterator[str]:
    """Yield the constants of a template's expressions that look like texts."""
    for child in node.iter_child_nodes():
        match child:
            case nodes.Call(node=nodes.Name(name=name)) if name in FUNCTIONS:
                continue
            case nodes.Const(value=str(value)) if TEXT.search(value):
                yield value
        yield from unmarked_constants(child)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "app")))
def test_texts_of_templates_are_marked(path: Path) -> None:
    source = path.read_text()
    assert unmarked_words(source) == []
    assert [*unmarked_constants(environment.parse(source))] == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Save</p>", ["Save"]),
        ("<p>{{ _('Save') }} it</p>", ["it"]),
        ("<p>{% trans %}Save{% endtrans %} it</p>", ["it"]),
        ('<img alt="A lamp"><a title="Sort">{{ name }}</a>', ["A lamp", "Sort"]),
        ("<code>make</code> <b translate=no>CSV</b> 7 {{ _('more') }}", []),
    ],
)
def test_unmarked_words_are_found(source: str, words: list[str]) -> None:
    assert unmarked_words(source) == words


def test_unmarked_constants_are_found() -> None:
    source = '{{ field(form, "name", "Name") }}{{ field(form, "a", _("Name"), class="x") }}'
    assert [*unmarked_constants(environment.parse(source))] == ["Name"]


def formatted_errors(source: str) -> list[str]:
    """Return the errors that pages show whose text is an f-string, which has no translation."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in ERRORS
        and any(isinstance(each, ast.JoinedStr) for each in node.args)
    ]


def test_texts_of_errors_are_not_formatted_before_their_translation() -> None:
    files = sorted((ROOT / "app").rglob("*.py"))
    assert [error for file in files for error in formatted_errors(file.read_text())] == []


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ('Invalid(f"There is no {name}.", "body")', True),
        ('errors.Conflict(f"There is no {name}.")', True),
        ('Invalid("There is no {name}.", name=f"{name}")', False),
        ('NotFound(f"Item Not Found (id: {id_})")', False),  # Pages have their own text.
    ],
)
def test_formatted_texts_of_errors_are_found(source: str, is_found: bool) -> None:
    assert bool(formatted_errors(source)) == is_found


def is_exempt(text: Message) -> bool:
    """Return whether a text needs no translation.

    A new project has another description, and a new slice says that it is not translated.
    """
    return text.id == DESCRIPTION or all(
        any(file.startswith(f"features/{name}/") for name in UNTRANSLATED)
        for file, _ in text.locations
    )


@pytest.mark.parametrize(
    ("files", "is_left_out"),
    [
        (["features/gadgets/pages.py"], True),
        (["features/gadgets/pages.py", "features/gadgets/templates/list.html"], True),
        (["features/gadgets/pages.py", "web/navigation.py"], False),
        (["features/gadgets_of_others/pages.py"], False),
    ],
)
def test_texts_of_untranslated_slices_alone_are_exempt(
    files: list[str], is_left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.UNTRANSLATED", ["gadgets"])
    text = Message("Gadgets", locations=[(file, 1) for file in files])
    assert is_exempt(text) == is_left_out


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.parents[1].name)
def test_catalog_is_complete(path: Path, texts: Catalog) -> None:
    with path.open("rb") as file:
        catalog = read_po(file, path.parents[1].name)
    assert [*catalog.obsolete] == []
    for text in texts:
        if text.id and not is_exempt(text):
            message = catalog.get(text.id)
            assert message is not None, f"{text.id!r} is not in the catalog: make translations"
            assert is_translated(message), text.id
            wanted = set(PLACEHOLDERS.findall(str(text.id)))
            used = set(PLACEHOLDERS.findall(str(message.string)))
            assert not set('"<') & set(str(message.string)) - set(str(message.id)), (
                f"{message.string!r} has HTML that {text.id!r} lacks"
            )
            assert used <= wanted, f"{message.string!r} has a placeholder that {text.id!r} lacks"


@needs("admin.py", "attachments", "webhooks")
def test_choices_that_the_admin_shows_are_texts(texts: Catalog) -> None:
    """One is of a field that is computed, and one of a column without a type of its own."""
    assert {"Too many pixels", "Succeeded"} <= {text.id for text in texts}
