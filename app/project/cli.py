"""`app rename` and `app remove`."""

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[2]
FRONT_PAGE = "app/web/templates/home.html"

cli = typer.Typer()
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask, where git cannot undo it.")]


@cli.command()
def rename(
    name: Annotated[str, typer.Argument(help='Such as "Acme Shop".')],
    slug: Annotated[
        str | None, typer.Option(help="The package and the Compose project: acme-shop.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="One line.")] = None,
    author: Annotated[str | None, typer.Option(help='Such as "Ann <ann@example.com>".')] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="An SPDX expression, such as MIT.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Give the project its name, and drop what is the template's own."""
    # The server's commands start faster without these.
    from app.project import renaming
    from app.project.identity import Identity, check_identity, slug_of
    from app.project.tree import require_clean_tree

    description = description or renaming.default_description(ROOT)
    identity = Identity(name, slug or slug_of(name), description, author, license_)
    check_identity(identity, ROOT)
    require_clean_tree(ROOT, yes)
    changes = renaming.rename(identity, ROOT)
    typer.echo("\n".join(changes) if changes else f"Nothing to change: this is {identity.name}.")
    if changes:
        typer.echo("\nNext: read `git diff` and LICENSE, then run `make check` and commit.")
        if (ROOT / FRONT_PAGE).exists():
            typer.echo(f"The front page is {FRONT_PAGE}.")


@cli.command()
def remove(
    parts: Annotated[
        list[str],
        typer.Argument(help="orders, lab, items, pages, admin, live, fastpath, project..."),
    ],
    yes: Yes = False,
) -> None:
    """Delete parts of the project, and write the migration that drops their tables."""
    from app.project import removal
    from app.project.parts import require_parts
    from app.project.tree import require_clean_tree

    require_parts(parts, ROOT)
    require_clean_tree(ROOT, yes)
    typer.echo("\n".join(removal.remove(parts, ROOT)))
    typer.echo(
        "\nNext: read the new file in alembic/versions, if there is one, and shorten the README and"
        " docs/. Then run `make check && make test`, and commit."
    )
