"""`app users ...` and `app auth ...`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError

from app.accounts.models import User
from app.accounts.schemas import UserAdminUpdate, UserCreate, UserQuery, UserRead
from app.core.commands import run
from app.core.database.session import Session
from app.core.errors import NotFound
from app.core.resources import Resources
from app.core.schemas import Input
from app.core.security.principal import Principal
from app.discovery import discover

cli = typer.Typer()
users = typer.Typer(no_args_is_help=True, help="Manage accounts.")
auth = typer.Typer(no_args_is_help=True, help="Manage sessions.")
cli.add_typer(users, name="users")
cli.add_typer(auth, name="auth")

BATCH_SIZE = 1000
NO_SESSION = UUID(int=0)

Email = Annotated[str, typer.Argument(help="The email address.")]
Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="PASSWORD")
]

Count = Annotated[int, typer.Option(min=1, help="Number of rows.")]
Owner = Annotated[
    str | None, typer.Option(metavar="EMAIL", help="Owner of the rows. By default the first user.")
]


@users.command()
def create(
    context: typer.Context, email: Email, password: Password, superuser: bool = False
) -> None:
    """Create an account whose email address is confirmed."""
    data = checked(email=email, password=password)

    async def work(resources: Resources) -> Any:
        given = data.password.get_secret_value()
        return await resources.accounts.users.create(data.email, given, is_superuser=superuser)

    typer.echo(f"{run(context, work).id}  {data.email}")


@users.command(name="list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1, max=100)] = 100
) -> None:
    """List the newest accounts."""

    async def work(resources: Resources) -> Any:
        return await resources.accounts.users.list(UserQuery(limit=limit, sort="-id"))

    for user in run(context, work).results:
        marks = [("superuser", user.is_superuser), ("inactive", not user.is_active)]
        typer.echo(f"{user.id}  {user.email}  {' '.join(mark for mark, on in marks if on)}")


@users.command()
def deactivate(context: typer.Context, email: Email) -> None:
    """Deactivate an account and end its sessions."""

    async def work(resources: Resources) -> Any:
        user = await resources.accounts.users.get_by_email(email)
        return await resources.accounts.users.update(user.id, UserAdminUpdate(is_active=False))

    typer.echo(f"{run(context, work).email} is deactivated, and its sessions have ended.")


@users.command()
def set_password(context: typer.Context, email: Email, password: Password) -> None:
    """Set the password of an account and end its sessions."""
    data = checked(email=email, password=password)

    async def work(resources: Resources) -> Any:
        user = await resources.accounts.users.get_by_email(email)
        await resources.accounts.users.set_password(user.id, data.password.get_secret_value())

    run(context, work)
    typer.echo(f"The password of {email} is set, and its sessions have ended.")


@users.command()
def remove_second_factor(context: typer.Context, email: Email) -> None:
    """Switch off the second factor of a user who has lost it."""

    async def work(resources: Resources) -> Any:
        user = await resources.accounts.users.get_by_email(email)
        await resources.accounts.second_factors.remove(user.id)

    run(context, work)
    typer.echo(f"{email} signs in without a second factor.")


@auth.command()
def renew_key(context: typer.Context) -> None:
    """Encrypt the stored secrets with the current SECRET_KEY, after it was replaced."""

    async def work(resources: Resources) -> tuple[int, int]:
        renewed = unreadable = 0
        for module in discover("cli"):
            for renew in getattr(module, "RENEW_SEALS", ()):
                results = await renew(resources)
                renewed, unreadable = renewed + results[0], unreadable + results[1]
        return renewed, unreadable

    renewed, unreadable = run(context, work)
    typer.echo(f"Encrypted: {renewed}")
    if unreadable:
        typer.echo(f"Unreadable: {unreadable}. Set SECRET_KEY_PREVIOUS to their key.", err=True)
        raise typer.Exit(1)


async def renew_second_factors(resources: Resources) -> tuple[int, int]:
    return await resources.accounts.second_factors.renew_seals()


# What `app auth renew-key` calls: each returns the numbers of renewed and unreadable secrets.
RENEW_SEALS = [renew_second_factors]


@auth.command()
def cleanup(context: typer.Context) -> None:
    """Delete sessions, keys, email tokens, events and other records that are over."""

    async def work(resources: Resources) -> Any:
        return await resources.accounts.auth.clean_up()

    typer.echo(f"Deleted: {run(context, work)}")


async def seed_rows(
    resources: Resources,
    get_service: Callable[[Session, Principal, Resources], Awaitable[Any]],
    sample: Callable[[int], Input],
    count: int,
    email: str | None,
) -> None:
    """Create sample rows of a feature, for the user with the address or for the first one.

    The service has `create_many`. Each batch is committed.
    """
    owner = await find_owner(resources, email)
    principal = Principal(owner.id, NO_SESSION, frozenset(), False)
    with typer.progressbar(range(0, count, BATCH_SIZE), label="Rows") as starts:
        for start in starts:
            batch = range(start, min(start + BATCH_SIZE, count))
            async with resources.database.transaction() as session:
                rows = await get_service(session, principal, resources)
                await rows.create_many([sample(number) for number in batch])
    typer.echo(f"Created {count:,} {'row' if count == 1 else 'rows'} for {owner.email}.")


async def find_owner(resources: Resources, email: str | None) -> User | UserRead:
    if email is not None:
        return await resources.accounts.users.get_by_email(email)
    for user in (await resources.accounts.users.list(UserQuery(limit=1))).results:
        return user
    raise NotFound("There is no account yet. Create one with `app users create`.")


def checked(**values: str) -> UserCreate:
    try:
        return UserCreate.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise SystemExit(f"{first['loc'][0]}: {first['msg']}") from None
