"""The page of the annotation rounds, served at /rounds/."""

from __future__ import annotations

from fastapi import Depends
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from .desk import Desk

PATH = "/rounds/"


def install_rounds_page(desk: Desk) -> None:
    """Add the page to the running server; only once."""
    from monailabel.app import app

    if any(getattr(route, "path", None) == PATH for route in app.routes):
        return

    async def rounds_page(
        user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)),  # noqa: B008
    ) -> FileResponse:
        if not desk.page.is_file():
            desk.write_page()
        return FileResponse(desk.page, media_type="text/html")

    app.add_api_route(PATH, rounds_page, methods=["GET"], summary="Annotation rounds")
