"""Make a project of a copy of the template. Copier runs this: see `copier.yml`.

Copier is installed apart from the project, so this needs `packaging` and the standard library only.
"""

import secrets
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from app.project.deletion import delete_parts, lines_of_dependents
from app.project.history import delete_migrations
from app.project.identity import Identity, check_identity, slug_of
from app.project.parts import parts, require_parts
from app.project.renaming import rename

PROPRIETARY = "LicenseRef-Proprietary"
POSTGRES_URL = "postgresql+asyncpg://app@127.0.0.1/app"


def create(identity: Identity, kept: Sequence[str], template: Path, root: Path) -> list[str]:
    """Give the copy its identity, delete what is not kept, and return lines for the user."""
    check_identity(identity, root)
    require_parts(kept, template)
    removed = [part for part in parts(template) if part not in kept]
    rename(identity, root)
    lines = lines_of_dependents(removed, template)
    delete_migrations(removed, root, template)
    delete_parts(removed, root, template)
    return lines


def write_settings(root: Path, database: str) -> None:
    """Write `.env` with secrets of this project, unless it is there: git ignores it."""
    file = root / ".env"
    if file.exists():
        return
    lines = [f"{name}={secrets.token_urlsafe(48)}" for name in ("SECRET_KEY", "POSTGRES_PASSWORD")]
    if database == "postgresql":
        lines.append(f"DATABASE_URL={POSTGRES_URL}")
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, ""]))


def main() -> None:
    parser = ArgumentParser()
    for name in ("name", "slug", "description", "author", "license", "database"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--template", type=Path)
    parser.add_argument("--keep", type=lambda text: text.split(",") if text else [])
    options = parser.parse_args()
    identity = Identity(
        options.name,
        options.slug or slug_of(options.name),
        options.description,
        options.author or None,
        PROPRIETARY if options.license == "none" else options.license,
    )
    for line in create(identity, options.keep, options.template, Path.cwd()):
        print(line)
    write_settings(Path.cwd(), options.database)


if __name__ == "__main__":
    main()
