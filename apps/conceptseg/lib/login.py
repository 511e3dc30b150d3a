"""Signing in with a browser: OHIF sends no token of its own, so a cookie carries it."""

from __future__ import annotations

import html
import logging
from urllib.parse import quote

import requests
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

logger = logging.getLogger(__name__)

COOKIE = "conceptseg_token"
TIMEOUT_S = 30
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in</title><style>
body {{ font: 16px sans-serif; display: grid; place-items: center; min-height: 90vh }}
form {{ display: grid; gap: .8em; width: 18em }} input, button {{ font: inherit; padding: .4em }}
</style></head><body><form method="post" action="/login?next={next}">
<h1>Sign in</h1><p role="alert">{message}</p>
<label>User name <input name="username" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form></body></html>"""


def fetch_token(username: str, password: str) -> dict:
    """The sign-in server's answer with `access_token`.

    Raises:
        HTTPException: 401 for a wrong name or password, 503 when the server does not answer.
    """
    data = {
        "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID,
        "username": username,
        "password": password,
        "grant_type": "password",
    }
    try:
        answer = requests.post(auth.token_uri(), data=data, timeout=TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:
        raise unreachable(error) from error
    if answer.status_code in (400, 401, 403):
        raise HTTPException(401, "The user name or the password is wrong; try again.")
    if not answer.ok:
        raise unreachable(f"status {answer.status_code}")
    return answer.json()


def unreachable(reason: object) -> HTTPException:
    """Error 503: nobody can be signed in or checked."""
    logger.error("the sign-in server fails: %s", reason)
    return HTTPException(
        503,
        f"Expected an answer of the sign-in server {settings.MONAI_LABEL_AUTH_REALM_URI}, got none"
        " that is usable; start it, or correct MONAI_LABEL_AUTH_REALM_URI.",
    )


def token_of(request: Request) -> str:
    """The token of a request's header, else of its cookie; "" without one."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")


def put_in_header(request: Request) -> None:
    """Let the endpoints see the cookie's token as if the browser had sent a header."""
    token = request.cookies.get(COOKIE)
    if token and "authorization" not in request.headers:
        request.scope["headers"].append((b"authorization", f"Bearer {token}".encode("latin-1")))


def page(request: Request, message: str = "", status: int = 200) -> HTMLResponse:
    """The form."""
    target = quote(_local(request.query_params.get("next", "/ohif/")), safe="")
    text = _PAGE.format(next=target, message=html.escape(message))
    return HTMLResponse(text, status_code=status)


def to_login(request: Request) -> RedirectResponse:
    """Send a browser to the form; it comes back afterwards."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(asked, safe='')}", status_code=303)


async def sign_in(request: Request) -> Response:
    """Check name and password of the form; a cookie with the token on success."""
    form = await request.form()
    try:
        token = await run_in_threadpool(
            fetch_token, str(form.get("username", "")), str(form.get("password", ""))
        )
    except HTTPException as error:
        return page(request, error.detail, error.status_code)
    response = RedirectResponse(_local(request.query_params.get("next", "/ohif/")), status_code=303)
    response.set_cookie(
        COOKIE,
        token["access_token"],
        max_age=int(token.get("expires_in", 300)),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _local(target: str) -> str:
    """A path of this server; a link to elsewhere becomes OHIF's."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if plain else "/ohif/"
