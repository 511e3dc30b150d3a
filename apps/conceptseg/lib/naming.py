"""A served model by the name a request gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model import ServedModel
from .problems import bad_request, unknown_name


def choose_model(served: Mapping[str, ServedModel], name: Any) -> ServedModel:
    """The model of a bundle by name, the first one without a name; error 404 for an unknown one."""
    if not name or not isinstance(name, str):
        return next(iter(served.values()))
    name = name if name in served else name.removesuffix("_interactive")
    if name not in served:
        raise unknown_name("model", name, served)
    return served[name]


def trained_model(served: Mapping[str, ServedModel], name: Any) -> ServedModel:
    """The model of a bundle by name, its weights loaded; error 400 where they are missing or do not fit."""
    model = choose_model(served, name)
    try:
        model.network()
    except (FileNotFoundError, ValueError) as error:
        raise bad_request(str(error)) from error
    return model
