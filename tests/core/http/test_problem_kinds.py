import re
from collections import Counter
from collections.abc import Iterator

import pytest

from app.core.errors import AppError
from app.core.http.problem_kinds import KINDS, kind_of_status
from app.core.http.problems import general_problem
from tests.databases import ROOT

DOCS = ROOT / "docs/problems.md"


def subclasses(class_: type[AppError]) -> Iterator[type[AppError]]:
    for each in class_.__subclasses__():
        yield each
        yield from subclasses(each)


def test_error_classes_have_known_kinds() -> None:
    kinds = {error.kind for error in subclasses(AppError)}
    assert kinds <= KINDS.keys()
    assert len(kinds) > 10


def test_kinds_have_unique_titles_and_full_sentences() -> None:
    assert not [title for title, n in Counter(k.title for k in KINDS.values()).items() if n > 1]
    for name, kind in KINDS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert kind.type == f"/problems/{name}"
        for text in (kind.summary, kind.advice):
            assert re.fullmatch(r"[A-Z].+\.", text), name


def test_docs_list_the_kinds_of_the_code() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `/problems/")]
    assert rows == [
        f"| `{kind.type}` | {kind.status} | {kind.title} | {kind.summary} {kind.advice} |"
        for kind in KINDS.values()
    ]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        *((400, "bad-request"), (403, "forbidden"), (404, "not-found"), (409, "conflict")),
        *((422, "validation"), (429, "rate-limited"), (503, "unavailable")),
    ],
)
def test_status_without_error_class_becomes_the_general_kind(status: int, name: str) -> None:
    assert kind_of_status(status) is KINDS[name]


def test_unknown_status_becomes_about_blank() -> None:
    kind = kind_of_status(418)
    assert (kind.type, kind.status, kind.title) == ("about:blank", 418, "I'm a Teapot")


def test_http_phrase_becomes_a_sentence() -> None:
    response = general_problem({"path": "/"}, 404, "Not Found", {})
    assert b"There is nothing at this address" in response.body
    response = general_problem({"path": "/"}, 404, "No such file.", {})
    assert b"No such file." in response.body
