"""Errors a client can read: one sentence with what was expected, what came and what to do."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException

logger = logging.getLogger(__name__)


def bad_request(message: str) -> HTTPException:
    """Error 400: the request itself is wrong."""
    return HTTPException(400, message)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> HTTPException:
    """Error 404 for a name that does not exist, with the nearest one and the first ones there are.

    Args:
        kind: what was asked for, such as "model".
        name: as the client wrote it.
        known: all names.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    shown = ", ".join(repr(n) for n in names[:5]) + (", ..." if len(names) > 5 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {shown or '(there is none)'}."
    return HTTPException(404, f"Expected a known {kind}, got {str(name)!r}; {hint}")


def install_handlers(app) -> None:
    """Make `app` (FastAPI) answer every exception of an endpoint with a status and one sentence."""
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(json.JSONDecodeError, _answer_json)
    app.add_exception_handler(MONAILabelException, _answer_monailabel)
    app.add_exception_handler(FileNotFoundError, _answer_missing)
    app.add_exception_handler(ValueError, _answer_value)
    app.add_exception_handler(Exception, _answer_any)


def _answer(status: int, detail: str) -> JSONResponse:
    """The form in which both clients look for a message."""
    return JSONResponse({"detail": detail}, status_code=status)


async def _answer_validation(request: Request, error: RequestValidationError) -> JSONResponse:
    """FastAPI's list of findings as one sentence."""
    found = error.errors()[0]
    where = " ".join(str(part) for part in found.get("loc", ())[1:]) or "the body"
    return _answer(
        422, f"The request's {where} is not usable: {found.get('msg')}; correct it and send again."
    )


async def _answer_json(request: Request, error: json.JSONDecodeError) -> JSONResponse:
    """Malformed JSON in a form field."""
    return _answer(
        400,
        f"Expected 'params' as a JSON object, got text that is none ({error.msg} at character"
        f" {error.pos}); correct it and send again.",
    )


async def _answer_monailabel(request: Request, error: MONAILabelException) -> JSONResponse:
    """MONAI Label's own errors carry their sentence in `msg`."""
    return _answer(404 if "not found" in error.msg.lower() else 400, error.msg)


async def _answer_missing(request: Request, error: FileNotFoundError) -> JSONResponse:
    """A file that is gone."""
    return _answer(404, str(error))


async def _answer_value(request: Request, error: ValueError) -> JSONResponse:
    """The package's errors already say what was expected, what came and what to do."""
    return _answer(400, str(error))


async def _answer_any(request: Request, error: Exception) -> JSONResponse:
    """What nobody foresaw: the log has the details."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        500,
        f"The server failed on this request ({type(error).__name__}: {error}); nothing was saved."
        " The server's log has the details.",
    )
