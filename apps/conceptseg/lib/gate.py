"""Checks before MONAI Label sees a request: names that exist, no paths, JSON that is JSON."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import HTTPException
from jwt import InvalidTokenError
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from . import login
from .batch import check_batch
from .naming import trained_model
from .problems import bad_request, unknown_name
from .store import check_id, check_tag

logger = logging.getLogger(__name__)

_ID_PARAMETERS = ("image", "id", "label", "session_id")
_JSON_ROUTES = ("/train", "/scoring", "/batch", "/activelearning")
_ADMIN_ROUTES = ("/train", "/batch")
_SLIDE_ROUTES = ("/infer/wsi/", "/infer/wsi_v2/")
_PAGES = ("/ohif", "/static/ohif", "/rounds")
_NAMED = re.compile(r"^/(infer|train|scoring|activelearning|model|batch/infer)/([^/]+)/?$")


class Gate(BaseHTTPMiddleware):
    """Answers wrong requests with 4xx and one sentence; all others pass.

    With authentication on, requests without a valid token get no answer from here but MONAI Label's
    own 401, or the sign-in form where a browser asks for a page.

    Args:
        app: the ASGI application behind it.
        instance: gives the MONAI Label app, for the names it knows.
    """

    def __init__(self, app, instance: Callable[[], Any]) -> None:
        super().__init__(app)
        self.instance = instance

    async def dispatch(self, request: Request, call_next):
        """Check, then pass on."""
        user = None
        if settings.MONAI_LABEL_AUTH_ENABLE:
            if request.url.path == "/login":
                return (
                    await login.sign_in(request)
                    if request.method == "POST"
                    else login.page(request)
                )
            login.put_in_header(request)
            try:
                user = await run_in_threadpool(_user_of, login.token_of(request))
            except HTTPException as error:
                return JSONResponse({"detail": error.detail}, status_code=error.status_code)
            if user is None:
                shown = request.method == "GET" and request.url.path.startswith(_PAGES)
                return login.to_login(request) if shown else await call_next(request)
        try:
            if request.url.path.rstrip("/") == "/reload":
                raise HTTPException(
                    403, "Reloading is switched off; start the server again instead."
                )
            self._check_query(request.query_params)
            if request.method == "POST":
                self._check_route(request.url.path)
                if request.url.path.startswith(_ADMIN_ROUTES):  # before all labels are read
                    await auth.RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN)(user)
                if request.url.path.startswith(_JSON_ROUTES):
                    body = await request.body()  # the checks read all labels before a training
                    await run_in_threadpool(self._check_body, request.url.path, body)
        except HTTPException as error:
            return JSONResponse({"detail": error.detail}, status_code=error.status_code)
        except ValueError as error:  # of a list of studies or a label that cannot be read
            logger.warning("%s is refused", request.url.path, exc_info=True)
            return JSONResponse({"detail": str(error)}, status_code=400)
        return await call_next(request)

    def _check_query(self, query: Mapping[str, str]) -> None:
        """No paths in names."""
        for name in _ID_PARAMETERS:
            if query.get(name):
                check_id(name, query[name])
        if query.get("tag"):
            check_tag(query["tag"])

    def _check_route(self, path: str) -> None:
        """The model, trainer, method or strategy in the path exists."""
        if path.startswith(_SLIDE_ROUTES):  # MONAI Label checks neither their options nor roles
            raise HTTPException(
                404, "Expected '/infer/MODEL', got whole slides, which no model here is made for."
            )
        match = _NAMED.match(path)
        if match is None:
            return
        route, name = match.groups()
        app = self.instance()
        known = {
            "infer": ("model", app._infers),
            "batch/infer": ("model", app._infers),
            "train": ("trainer", app._trainers),
            "scoring": ("scoring method", app._scoring_methods),
            "activelearning": ("strategy", app._strategies),
        }
        if route in known and name not in known[route][1]:
            raise unknown_name(known[route][0], name, known[route][1])

    def _check_body(self, path: str, body: bytes) -> None:
        """A JSON object or nothing; a training request is checked against the saved labels as well."""
        params: Any = {}
        if body.strip():
            try:
                params = json.loads(body)
            except ValueError as error:
                raise bad_request(
                    f"Expected a JSON object as body, got text that is none ({error}); correct it."
                ) from error
        if not isinstance(params, (dict, type(None))):
            raise bad_request(f"Expected a JSON object as body, got {type(params).__name__}.")
        match = _NAMED.match(path)
        app = self.instance()
        if path.startswith("/batch"):
            check_batch(params or {})
            if match is not None:  # told now: a batch in the background tells nobody
                trained_model(app.served, match.group(2))
        if match is None:
            names = list(app._trainers) if path.rstrip("/") == "/train" else []
        else:
            names = [match.group(2)] if match.group(1) == "train" else []
        for name in names:
            own = (params or {}).get(name)
            app._trainers[name].check(
                own if isinstance(own, dict) else params or {}, app.datastore()
            )


def _user_of(token: str) -> auth.User | None:
    """Whose valid token it is; error 503 when the sign-in server cannot be asked for its key."""
    try:
        return auth.from_token(token) if token else None
    except InvalidTokenError:
        return None


def install_gate(app, instance: Callable[[], Any]) -> None:
    """Put the gate in front of `app` (FastAPI), which has already started; only once."""
    from starlette.middleware import Middleware

    if any(entry.cls is Gate for entry in app.user_middleware):
        return
    app.user_middleware.insert(0, Middleware(Gate, instance=instance))
    app.middleware_stack = app.build_middleware_stack()
