from fastapi import APIRouter, Request
from starlette.responses import Response

from app.web.links import site_path
from app.web.navigation import redirect
from app.web.rendering import render
from app.web.site import site_of

router = APIRouter(include_in_schema=False)


@router.get("/")
async def show_home(request: Request) -> Response:
    """Show the front page, or redirect signed-in users to their home page."""
    navigation = site_of(request).navigation
    if request.state.principal is not None:
        return redirect(site_path(request, navigation.home))
    links, base_url = navigation.links_for(None), str(request.base_url).rstrip("/")
    return render(request, "web/home.html", links=links, base_url=base_url)
