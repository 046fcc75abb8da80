"""Print which routes the fast router serves, and why it leaves the others to FastAPI."""

from fastapi.routing import iter_route_contexts
from uvicorn.importer import import_from_string

from app.core.fastpath.router import UnsupportedRoute, plan_of

app = import_from_string("app.main:app")  # By name, since the core must not import it.
for route in iter_route_contexts(app.routes):
    try:
        plan_of(route)
        note = "fast"
    except UnsupportedRoute as error:
        note = f"FastAPI: {error}"
    print(f"{','.join(sorted(route.methods or ['-'])):8} {route.path or '-':45} {note}")
