"""`app users ...` and `app auth ...`."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.accounts.schemas import UserAdminUpdate, UserCreate, UserQuery
from app.core.commands import run
from app.core.resources import Resources

cli = typer.Typer()
users = typer.Typer(no_args_is_help=True, help="Manage accounts.")
auth = typer.Typer(no_args_is_help=True, help="Manage sessions.")
cli.add_typer(users, name="users")
cli.add_typer(auth, name="auth")

Email = Annotated[str, typer.Argument(help="The email address.")]
Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="PASSWORD")
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


@auth.command()
def cleanup(context: typer.Context) -> None:
    """Delete the sessions and email tokens that have expired."""

    async def work(resources: Resources) -> Any:
        return await resources.accounts.auth.clean_up()

    typer.echo(f"Deleted: {run(context, work)}")


def checked(**values: str) -> UserCreate:
    try:
        return UserCreate.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise SystemExit(f"{first['loc'][0]}: {first['msg']}") from None
