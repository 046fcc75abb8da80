"""`app items ...`."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import typer

from app.accounts.schemas import UserQuery
from app.core.commands import run
from app.core.errors import NotFound
from app.core.resources import Resources
from app.core.security.principal import Principal
from app.features.items.dependencies import build_bulk
from app.features.items.schemas import ItemCreate

ITEMS_AT_ONCE = 1000
# Of lengths that share no divisor: each look meets each thing.
LOOKS = ("Brass", "Oak", "Folding", "Round", "Tall", "Woven", "Blue", "Antique", "Tiny")
THINGS = ("Lamp", "Desk", "Chair", "Kettle", "Mirror", "Shelf", "Rug", "Vase", "Clock", "Stool")

cli = typer.Typer()
items = typer.Typer(no_args_is_help=True, help="Manage items.")
cli.add_typer(items, name="items")


@items.command()
def seed(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, help="Number of items.")] = 1000,
    owner: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Owner; the first account by default.")
    ] = None,
) -> None:
    """Create sample items."""

    async def work(resources: Resources) -> None:
        owner_id = await find_owner(resources, owner)
        nowhere = UUID(int=0)  # no session: it is the command line that asks
        bulk = build_bulk(Principal(owner_id, nowhere, frozenset(), False), resources)
        with typer.progressbar(length=count, label="Items") as progress:
            for start in range(0, count, ITEMS_AT_ONCE):
                batch = [sample(n) for n in range(start, min(start + ITEMS_AT_ONCE, count))]
                await bulk.create(batch)
                progress.update(len(batch))

    run(context, work)


async def find_owner(resources: Resources, email: str | None) -> int:
    if email is not None:
        return (await resources.accounts.users.get_by_email(email)).id
    for user in (await resources.accounts.users.list(UserQuery(limit=1))).results:
        return user.id
    raise NotFound("There is no account yet. Create one with `app users create`.")


def sample(n: int) -> ItemCreate:
    """The same for the same number."""
    look, thing = LOOKS[n % len(LOOKS)], THINGS[n % len(THINGS)]
    return ItemCreate(
        name=f"{look} {thing} {n + 1}",
        description=f"{thing} number {n + 1}, {look.lower()}." if n % 3 else None,
        price=Decimal(199 + n * 7919 % 50_000) / 100,
        is_offer=n % 7 == 0,
    )
