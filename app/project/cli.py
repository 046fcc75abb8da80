"""`app rename`, `app new` and `app remove`."""

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[2]
FRONT_PAGE = "app/web/templates/home.html"

cli = typer.Typer()
new = typer.Typer(no_args_is_help=True, help="Write the code of a resource.")
cli.add_typer(new, name="new")
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask, where git cannot undo it.")]


def complete_part(incomplete: str) -> list[str]:
    """Return the parts that the shell offers at the Tab key."""
    from app.project.parts import parts

    return [part for part in (*parts(ROOT), "resource") if part.startswith(incomplete)]


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
        typer.Argument(
            help="items, orders, attachments, graphql, webhooks, identities, passkeys, lab, pages,"
            " admin, live, fastpath... or resource NAME",
            autocompletion=complete_part,
        ),
    ],
    yes: Yes = False,
) -> None:
    """Delete parts of the project, or a resource, and write the migration that drops its tables."""
    from app.project import removal
    from app.project.parts import features_of_resources, require_parts
    from app.project.tree import require_clean_tree

    if parts[0] == "resource":
        parts = features_of_resources(parts[1:], ROOT)
    require_parts(parts, ROOT)
    require_clean_tree(ROOT, yes)
    typer.echo("\n".join(removal.remove(parts, ROOT)))
    typer.echo(
        "\nNext: read the new file in alembic/versions, if there is one, and shorten AGENTS.md, the"
        " README and docs/. Then run `make check && make test`, and commit."
    )


@new.command()
def resource(
    name: Annotated[str, typer.Argument(help="Of one record: invoice.")],
    fields: Annotated[
        list[str] | None, typer.Argument(help='Such as "number:str(20) unique" "due:date?".')
    ] = None,
    plural: Annotated[str | None, typer.Option(help="Of an irregular name: people.")] = None,
    pages: Annotated[bool, typer.Option(help="Write the pages.")] = True,
    admin: Annotated[bool, typer.Option(help="Write the admin's view.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print, and write nothing.")] = False,
) -> None:
    """Write the slice of a resource, with its migration and its tests.

    Types: str(20), text, int, bigint, money, float, bool, date, datetime,
    uuid, json, enum(a,b), ref(users), many(item:ref(items), quantity:int>=1).

    After the type, in any order: ? for null, =default, >=1, <=100, index, and
    unique, which is for each owner, or of many for each record.
    """
    from app.project.fields import FieldError
    from app.project.generation import new_resource
    from app.project.names import read_resource

    try:
        made = read_resource(name, fields or [], ROOT, plural)
        pages = pages and (ROOT / "app/pages.py").exists()
        has_admin = admin and (ROOT / "app/admin.py").exists()
        report = new_resource(made, ROOT, has_pages=pages, has_admin=has_admin, is_dry_run=dry_run)
    except FieldError as error:
        raise SystemExit(str(error)) from None
    typer.echo(report)
    if not dry_run:
        typer.echo(
            "Next: read the migration. `make run` applies it, and where it runs already, it does so"
            f" now and restarts. The list is at {'' if pages else '/api/v1'}/{made.names}. Its"
            f" tests: .venv/bin/pytest tests/features/{made.names}"
        )
