"""The front end of your own: a built single-page application, which FRONTEND_DIR names.

It is signed in by the cookie of the pages, which scripts cannot read, so that it keeps no tokens.
It is optional: docs/frontend.md explains it, and docs/adding-a-resource.md how to delete it.
"""

import mimetypes
import re

from fastapi import APIRouter, Depends, FastAPI, Request, Response, status

from app.accounts.dependencies import (
    BrowserServiceDep,
    ClientInfoDep,
    SessionCookieDep,
    require_same_origin,
)
from app.accounts.schemas import SecondFactorSignIn, SignIn
from app.core.context import route_path
from app.core.errors import Forbidden, InvalidTokenRequest, NotFound, TooManyRequests
from app.core.http.problem_kinds import problem_response
from app.core.resources import ResourcesDep
from app.core.security.policy_headers import API, content_security_policy
from app.discovery import optional

PATH, PATH_BESIDE_PAGES = "/", "/app"
# Vite builds files with a hash of the content in their names. One without a digit or a capital
# letter may as well be a word, as in `app-settings.json`.
HASHED = re.compile(r".*/assets/[^/]+-(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{8}\.[a-z0-9.]+")
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
POLICY = content_security_policy(
    img_src="'self' data: blob:",
    font_src="'self'",
    media_src="'self'",
    manifest_src="'self'",
    worker_src="'self'",
)
CROSS_SITE = problem_response(Forbidden, "The request is not from a page of this site")
REFUSED = problem_response(InvalidTokenRequest, "The password or the code is wrong")
TOO_MANY = problem_response(TooManyRequests, "Too many attempts")

session = APIRouter(
    prefix="/auth/session",
    tags=["auth"],
    dependencies=[Depends(require_same_origin)],
    responses=CROSS_SITE,
)


def add_frontend(app: FastAPI) -> None:
    """Serve the files of the front end at `/app`, or at `/` where the pages are deleted."""
    directory = app.state.settings.frontend_dir
    if directory is None:
        return
    mimetypes.init()  # At the first request for a file it would block the event loop.
    files = APIRouter(dependencies=[Depends(set_headers)])
    path = PATH_BESIDE_PAGES if optional("app.pages") else PATH
    files.frontend(path, directory=directory, fallback="index.html", check_dir=True)
    app.include_router(files)


async def set_headers(request: Request, response: Response) -> None:
    """Let browsers keep hashed files for good, and ask for all others again.

    What accepts HTML may get `index.html` instead of a file that is missing, and must not keep it.
    """
    path = route_path(request.scope)
    if f"{path}/".startswith(API):
        raise NotFound("Not Found")
    is_navigation = "html" in request.headers.get("Accept", "")
    is_immutable = HASHED.fullmatch(path) and not is_navigation
    response.headers["Cache-Control"] = IMMUTABLE if is_immutable else REVALIDATE
    response.headers["Vary"] = "Accept"
    response.headers["Content-Security-Policy"] = POLICY


@session.post(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=REFUSED | TOO_MANY,
)
async def create_session(
    data: SignIn,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
    resources: ResourcesDep,
    request: Request,
    response: Response,
) -> None:
    """Sign in the browser, by a cookie that scripts cannot read.

    For an account with a second factor, the error `second_factor_required` has a `challenge` for
    `POST /api/v1/auth/session/second-factor`.
    """
    signed_in = await browsers.sign_in(data, client, cookie.read(request))
    resources.accounts.write_cookies(response, signed_in)


@session.post(
    "/second-factor",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=REFUSED | TOO_MANY,
)
async def create_session_by_code(
    data: SecondFactorSignIn,
    browsers: BrowserServiceDep,
    client: ClientInfoDep,
    cookie: SessionCookieDep,
    resources: ResourcesDep,
    request: Request,
    response: Response,
) -> None:
    """Complete the sign-in with a code of the authenticator app, or with a recovery code."""
    signed_in = await browsers.complete_sign_in(data, client, cookie.read(request))
    resources.accounts.write_cookies(response, signed_in)


@session.delete("", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def end_session(
    browsers: BrowserServiceDep, cookie: SessionCookieDep, request: Request, response: Response
) -> None:
    """Sign out the browser."""
    if value := cookie.read(request):
        await browsers.sign_out(value)
    cookie.delete(response)
