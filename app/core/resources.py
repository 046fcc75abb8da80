"""Access from a request to the application's resources."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

if TYPE_CHECKING:  # `app.resources` is a layer above this package.
    from app.resources import Resources
else:
    Resources = object

NOT_STARTED = (
    "The application was not started: this server does not support ASGI's lifespan, as Daphne does"
    " not. docs/deployment.md has a table of those that do."
)

__all__ = ["Resources", "ResourcesDep", "get_resources", "resources_of"]


def resources_of(connection: HTTPConnection) -> Resources:
    """Return the resources of the application that serves a request or a WebSocket."""
    try:
        resources: Resources = connection.app.state.resources
    except AttributeError as error:
        raise RuntimeError(NOT_STARTED) from error
    return resources


async def get_resources(connection: HTTPConnection) -> Resources:
    return resources_of(connection)


ResourcesDep = Annotated[Resources, Depends(get_resources)]
