"""Tests of files that repeat the name or the description of the project."""

import re
import tomllib

from app.core.about import DESCRIPTION, SLUG
from tests.databases import ROOT


def test_package_has_the_name_and_description_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["description"]) == (SLUG, DESCRIPTION)


def test_compose_project_has_the_name_of_the_project() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert re.findall(r"^name: (.+)$", compose, re.MULTILINE) == [SLUG]
