"""Generate the files of a resource, without a migration."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from app.project.fields import parse_field
from app.project.generation import copy_project, folders_of, render, write
from app.project.resource import Resource
from tests.databases import ROOT


def generate(folder: Path, name: str, fields: Sequence[str]) -> None:
    """Write the files of a resource, which refers to no other, into a copy of the project."""
    copy_project(ROOT, folder)
    resource = Resource(name, [parse_field(each) for each in fields], {})
    for path in folders_of(resource):
        shutil.rmtree(folder / path, ignore_errors=True)
    write(folder, render(resource, has_pages=True, has_admin=True))
