from decimal import Decimal

import typer

from app.accounts.cli import Count, Owner, seed_rows
from app.core.commands import run
from app.features.items.dependencies import get_item_service
from app.features.items.schemas import ItemCreate

NAMES = ("Brass lamp", "Oak desk", "Folding chair", "Round mirror", "Woven rug", "Blue vase")

cli = typer.Typer()
items = typer.Typer(no_args_is_help=True, help="Manage items.")
cli.add_typer(items, name="items")


@items.command()
def seed(context: typer.Context, count: Count = 1000, owner: Owner = None) -> None:
    """Create sample items."""
    run(
        context, lambda resources: seed_rows(resources, get_item_service, sample_item, count, owner)
    )


def sample_item(number: int) -> ItemCreate:
    name = f"{NAMES[number % len(NAMES)]} {number + 1}"
    description = f"{name}, as good as new." if number % 3 else None
    price = Decimal(199 + number * 7919 % 50_000) / 100
    return ItemCreate(name=name, description=description, price=price, is_offer=number % 7 == 0)
