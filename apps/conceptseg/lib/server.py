"""What the app changes in the running server: its address, its errors, its tokens."""

from __future__ import annotations

import gc
import ipaddress
import logging
import sys
from types import SimpleNamespace

import jwt
import requests
import uvicorn
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.middleware.cors import CORSMiddleware

from .gate import install_gate
from .login import unreachable
from .problems import install_handlers
from .routes import install_threads

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
GRACE_S = 5  # after Ctrl+C; a browser that keeps its connection open must not keep the server
# Keycloak signs with one of these; without a list PyJWT 2.15 refuses every token.
TOKEN_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA"]


def host_given(arguments: list[str]) -> bool:
    """True when the command line names an address to listen on."""
    return any(
        a in ("-i", "--host") or a.startswith("--host=") or (a.startswith("-i") and len(a) > 2)
        for a in arguments
    )


def is_loopback(host: str) -> bool:
    """True for an address that only this computer reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_on_loopback(arguments: list[str]) -> str:
    """Listen on this computer only, unless the command line says otherwise; gives the server's URL.

    MONAI Label's launcher listens everywhere by default. Uvicorn opens its socket after the
    application has started, so the address can still be changed while the app starts.

    Args:
        arguments: of the command line.
    """
    configs = [o for o in gc.get_objects() if type(o) is uvicorn.Config]
    for config in configs:
        config.timeout_graceful_shutdown = GRACE_S
        if not host_given(arguments):
            config.host = LOOPBACK
        elif not is_loopback(config.host) and not settings.MONAI_LABEL_AUTH_ENABLE:
            logger.warning(
                "The server listens on %s WITHOUT authentication: whoever reaches this computer can"
                " read and change the studies. Leave --host out, or see 'Other computers' in the"
                " app's README.",
                config.host,
            )
    host = configs[0].host if configs else LOOPBACK
    scheme = "https" if configs and configs[0].is_ssl else "http"
    return f"{scheme}://{host}:{settings.MONAI_LABEL_SERVER_PORT}"


def accept_tokens() -> None:
    """Make MONAI Label 0.8.5's check of tokens work with PyJWT 2.15, and its errors readable."""
    fetch_key = auth.get_public_key

    def decode(token, key, options=None):
        payload = jwt.decode(token, key, algorithms=TOKEN_ALGORITHMS, options=options)
        entry, names = payload, settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#")
        for name in names[:-1]:  # a person without any role is refused, not met with an error
            entry = entry.setdefault(name, {})
        entry.setdefault(names[-1], [])
        return payload

    def public_key(realm_uri: str) -> str:
        try:
            return fetch_key(realm_uri)
        except (requests.RequestException, ValueError, KeyError) as error:
            raise unreachable(error) from error

    auth.jwt = SimpleNamespace(decode=decode)
    auth.get_public_key = public_key


def allow_own_pages(app) -> None:
    """Let only this server's own pages read from it, where MONAI_LABEL_CORS_ORIGINS names no others.

    MONAI Label's default lets every page that a browser has open read and change the studies.
    """
    if settings.MONAI_LABEL_CORS_ORIGINS:
        return
    port = settings.MONAI_LABEL_SERVER_PORT
    own = [f"{s}://{h}:{port}" for s in ("http", "https") for h in (LOOPBACK, "localhost")]
    for entry in app.user_middleware:
        if entry.cls is CORSMiddleware:
            entry.kwargs["allow_origins"] = own


def prepare(instance) -> None:
    """Called once the server has started: errors, checks in front, threads, tokens, address."""
    from monailabel.app import app

    install_handlers(app)
    install_threads(app, instance)
    allow_own_pages(app)
    install_gate(app, instance)
    app.middleware_stack = app.build_middleware_stack()
    if settings.MONAI_LABEL_AUTH_ENABLE:
        accept_tokens()
    logger.info("serving on %s", listen_on_loopback(sys.argv))
