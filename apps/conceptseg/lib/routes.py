"""Endpoints that take long, moved to threads, so that one person's request does not stop another's."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from fastapi import Depends
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints import activelearning, datastore, infer, info, scoring, session, train
from monailabel.endpoints import batch_infer as batch
from monailabel.endpoints.user import auth

from .callers import named
from .login import fetch_token
from .options import read_flag
from .problems import bad_request, unknown_name
from .uploads import opening


def install_threads(app, instance: Callable[[], Any]) -> None:
    """Put threaded versions of MONAI Label's slow endpoints before its own.

    MONAI Label 0.8.5 declares them `async` but never waits inside, so each blocks the whole server,
    `/info/` included, until it is done.

    Args:
        app: the FastAPI application.
        instance: gives the MONAI Label app.
    """
    slow = {
        ("GET", "/info/"): info.api_app_info,  # counts the labels, on a DICOMweb server as well
        ("GET", "/datastore/"): datastore.api_datastore,
        ("PUT", "/datastore/"): named(datastore.api_add_image),
        ("POST", "/infer/{model}"): checked_inference(infer.api_run_inference, instance),
        ("POST", "/activelearning/{strategy}"): named(activelearning.api_sample),
        ("PUT", "/datastore/label"): named(datastore.api_save_label),
        ("GET", "/datastore/label"): datastore.api_download_label,
        ("HEAD", "/datastore/label"): datastore.api_check_label,
        ("DELETE", "/datastore/label"): datastore.api_remove_label,
        ("PUT", "/datastore/label/info"): datastore.api_put_label_info,
        ("PUT", "/datastore/updatelabelinfo"): datastore.api_update_label_info,
        ("PUT", "/datastore/image"): named(datastore.api_add_image),
        ("GET", "/datastore/image"): opening(datastore.api_download_image, instance),
        ("HEAD", "/datastore/image"): datastore.api_check_image,
        ("DELETE", "/datastore/image"): datastore.api_remove_image,
        ("DELETE", "/datastore/"): datastore.api_remove_image,
        ("PUT", "/datastore/image/info"): datastore.api_put_image_info,
        ("GET", "/datastore/dataset"): datastore.api_download_dataset,
        ("PUT", "/session/"): session.api_create_session,
        ("POST", "/train/"): train.api_run,
        ("POST", "/train/{model}"): train.api_run_model,
        ("POST", "/scoring/{method}"): scoring.api_run_method,
        ("POST", "/batch/infer/{model}"): batch.api_run,
    }
    if settings.MONAI_LABEL_AUTH_ENABLE:
        slow["POST", "/auth/token"] = sign_in
    if any(getattr(route, "name", "") == "threaded" for route in app.router.routes):
        return
    for (method, path), endpoint in slow.items():
        app.router.add_api_route(
            path, threaded(endpoint), methods=[method], name="threaded", include_in_schema=False
        )
        app.router.routes.insert(0, app.router.routes.pop())


async def sign_in(form_data: OAuth2PasswordRequestForm = Depends()) -> dict[str, Any]:  # noqa: B008
    """A token for a user name and a password, as Slicer asks for it."""
    return fetch_token(form_data.username, form_data.password)


def threaded(endpoint: Callable) -> Callable:
    """A plain function that runs a coroutine function which never waits; FastAPI calls it in a thread.

    What it returns is written as JSON there, too: a long list takes seconds.
    """

    def run(**arguments: Any) -> Any:
        coroutine = endpoint(**arguments)
        try:
            coroutine.send(None)
        except StopIteration as end:
            is_plain = isinstance(end.value, (dict, list))
            return JSONResponse(jsonable_encoder(end.value)) if is_plain else end.value
        coroutine.close()
        raise RuntimeError(f"Expected {endpoint.__name__} to return at once, but it waits.")

    run.__signature__ = inspect.signature(endpoint)
    run.__name__ = endpoint.__name__
    return run


def checked_inference(endpoint: Callable, instance: Callable[[], Any]) -> Callable:
    """The inference endpoint behind checks of its form: a JSON object, a session that exists.

    Who lets the answer be saved as a label needs the role for saving labels.
    """

    @functools.wraps(endpoint)
    async def run(**arguments: Any) -> Any:
        params = check_params(arguments["params"])
        if read_flag("save_label", params.get("save_label", False)):
            await auth.RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)(arguments["user"])
        session_id, sessions = arguments["session_id"], instance().sessions()
        if session_id and (sessions is None or sessions.get_session(session_id) is None):
            raise unknown_name("session (the volume was closed; open it again)", session_id, ())
        if not (arguments["image"] or session_id or arguments["file"]):
            raise bad_request("Expected an image, a session or a file, got none; choose an image.")
        arguments["label"] = None  # no model here starts from scribbles
        return await endpoint(**arguments)

    run.__signature__ = inspect.signature(endpoint)
    return run


def check_params(text: str | None) -> dict[str, Any]:
    """The options of a request; error 400 for what is no JSON object, or would choose another image."""
    try:
        params = json.loads(text or "{}")
    except ValueError as error:
        raise bad_request(
            f"Expected 'params' as a JSON object, got text that is none ({error}); correct it."
        ) from error
    if not isinstance(params, dict):
        raise bad_request(f"Expected 'params' as a JSON object, got {type(params).__name__}.")
    if "image" in params:  # MONAI Label would let it replace the image that was checked
        raise bad_request(
            "Expected 'image' in the address of the request, got it among 'params'; paths are refused."
        )
    return params
