"""Who calls: clients send the same name for everybody unless people change it, or none."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from fastapi import Request
from monailabel.config import settings

from .problems import bad_request

ANONYMOUS = "unnamed client"
SLICER_DEFAULT = "user-xyz"  # Slicer's Client/User-ID where nobody has set it


def named(endpoint: Callable) -> Callable:
    """An endpoint of MONAI Label whose `params` always tell apart who calls, in `client_id`.

    Args:
        endpoint: coroutine function with the arguments `params`, a dictionary or JSON text, and `user`.
    """

    @functools.wraps(endpoint)
    async def run(caller_request: Request, **arguments: Any) -> Any:
        params = arguments["params"]
        is_text = isinstance(params, str)
        content = (json.loads(params or "{}") if is_text else params) or {}
        if not isinstance(content, dict):
            raise bad_request(
                f"Expected 'params' as a JSON object, got {type(content).__name__}; correct it."
            )
        host = caller_request.client.host if caller_request.client else ""
        name = caller_name(content.get("client_id"), arguments["user"].username, host)
        content = content | {"client_id": name}
        arguments["params"] = json.dumps(content) if is_text else content
        return await endpoint(**arguments)

    signature = inspect.signature(endpoint)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = inspect.Parameter("caller_request", kind, annotation=Request)
    run.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])
    return run


def caller_name(sent: Any, user: str | None, host: str) -> str:
    """The name of who calls, for leases and the record.

    Args:
        sent: the client's `client_id`; it counts where nobody signs in.
        user: name in the token.
        host: address of the client's computer, which tells clients apart that have no name of their own.
    """
    if settings.MONAI_LABEL_AUTH_ENABLE and user:
        return user
    name = str(sent or "").strip()
    if name and name != SLICER_DEFAULT:
        return name
    return f"{name or ANONYMOUS} at {host}" if host else name or ANONYMOUS
