"""`app rename`: write the name of the project, and drop what is the template's own."""

import ast
import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from app.project.deletion import delete
from app.project.identity import AUTHOR, Identity

ABOUT = "app/core/about.py"
LICENSE, TEMPLATE_LICENSE = "LICENSE", "LICENSE.template"
# These take the place of the template's. Once they have, what is there is the project's own.
NEW_PROJECT = "app/project/new_project"
TEMPLATE_FILES = (
    "README.ko.md",
    "copier.yml",
    "{{_copier_conf.answers_file}}.copier",
    "docs/items.png",
    "docs/edit.png",
    "bench/results",
    NEW_PROJECT,
)
TEMPLATE_SECTION = re.compile(
    r"<!-- `app rename` deletes from here -->\n.*?<!-- to here -->\n+", re.DOTALL
)
DEFAULT_DESCRIPTION = "A web application with an HTTP API."


def rename(new: Identity, root: Path) -> list[str]:
    """Give the project its identity, and return a line for each file that has changed."""
    is_template = (root / NEW_PROJECT).exists()
    texts = named_files(new, root) | license_files(new, root)
    if is_template:
        texts |= untemplated_pages(root) | new_project_files(new, root)
    lines = []
    for path, text in texts.items():
        file = root / path
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            lines.append(f"changed {path}")
    if is_template:
        for path in TEMPLATE_FILES:
            if (root / path).exists():
                delete(root / path)
                lines.append(f"deleted {path}")
    return lines


def current_identity(root: Path) -> Identity:
    about = (root / ABOUT).read_text()
    values = dict(re.findall(r"^([A-Z]+) = (.+)$", about, re.MULTILINE))
    keys = ("NAME", "SLUG", "DESCRIPTION")
    return Identity(*(ast.literal_eval(values[key]) for key in keys))


def default_description(root: Path) -> str:
    """Return the description that the project has, or a plain one in place of the template's."""
    is_template = (root / NEW_PROJECT).exists()
    return DEFAULT_DESCRIPTION if is_template else current_identity(root).description


def named_files(new: Identity, root: Path) -> dict[str, str]:
    """Return the new texts of the files that state the name."""
    old = current_identity(root)
    return {
        path: change((root / path).read_text(), old, new)
        for path, change in NAMED.items()
        if (root / path).exists()
    }


def change_about(text: str, _: Identity, new: Identity) -> str:
    values = {"NAME": new.name, "SLUG": new.slug, "DESCRIPTION": new.description}
    return set_keys(text, {key: quoted(value) for key, value in values.items()})


def change_package(text: str, _: Identity, new: Identity) -> str:
    values = {"name": quoted(new.slug), "description": quoted(new.description)}
    if new.author:
        values["authors"] = authors(new.author)
    if new.license:
        values["license"] = quoted(new.license)
    return set_keys(text, values)


def change_compose(text: str, _: Identity, new: Identity) -> str:
    return re.sub(r"^name: .*$", f"name: {new.slug}", text, count=1, flags=re.MULTILINE)


def change_readme(text: str, old: Identity, new: Identity) -> str:
    lines = {f"# {old.name}": f"# {new.name}", old.description: new.description}
    return "\n".join(lines.get(line, line) for line in text.split("\n"))


NAMED: Mapping[str, Callable[[str, Identity, Identity], str]] = {
    ABOUT: change_about,
    "pyproject.toml": change_package,
    "docker-compose.yml": change_compose,
    "README.md": change_readme,
}


def set_keys(text: str, values: Mapping[str, str]) -> str:
    """Set keys of Python or TOML that stand at the start of a line, or add them to [project]."""
    for key, value in values.items():
        pattern, line = rf"^{key} = .*$", f"{key} = {value}"
        if not re.search(pattern, text, re.MULTILINE):
            pattern, line = r"^(?=requires-python = )", f"{line}\n"
        text = re.sub(pattern, line.replace("\\", r"\\"), text, count=1, flags=re.MULTILINE)
    return text


def quoted(value: str) -> str:
    """Quote a text as Python, TOML and JSON do alike."""
    return json.dumps(value, ensure_ascii=False)


def authors(author: str) -> str:
    """Return the value of `authors` in pyproject.toml."""
    match = AUTHOR.fullmatch(author)
    fields = match.groupdict() if match else {}
    shown = ", ".join(f"{key} = {quoted(value)}" for key, value in fields.items() if value)
    return f"[{{ {shown} }}]"


def license_files(new: Identity, root: Path) -> dict[str, str]:
    """Keep the notice of the template's license: below the author's, or in a file of its own."""
    file = root / LICENSE
    text = file.read_text() if file.exists() else ""
    if not text.startswith("MIT License"):
        return {}
    match = AUTHOR.fullmatch(new.author or new.name)
    notice = f"Copyright (c) {date.today():%Y} {match['name'] if match else new.name}\n"
    if new.license not in (None, "MIT"):
        own = (
            f"{notice}\nLicense: {new.license}. For parts from the template: {TEMPLATE_LICENSE}.\n"
        )
        return {LICENSE: own, TEMPLATE_LICENSE: text}
    if new.author is None or notice in text:
        return {}
    return {LICENSE: text.replace("Copyright (c)", f"{notice}Copyright (c)", 1)}


def untemplated_pages(root: Path) -> dict[str, str]:
    """Return the pages without the sections that are about the template alone."""
    pages = [page for folder in ("", "docs", "bench") for page in (root / folder).glob("*.md")]
    texts = {str(page.relative_to(root)): page.read_text() for page in sorted(pages)}
    return {
        path: TEMPLATE_SECTION.sub("", text)
        for path, text in texts.items()
        if TEMPLATE_SECTION.search(text)
    }


def new_project_files(new: Identity, root: Path) -> dict[str, str]:
    """Return the first files of a new project, with its name and description."""
    return {
        file.name: file.read_text()
        .replace("{name}", new.name)
        .replace("{description}", new.description)
        for file in sorted((root / NEW_PROJECT).glob("*.md"))
    }
