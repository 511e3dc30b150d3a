"""Which requests run in threads, so that they do not stop each other."""

import pytest
from fastapi import FastAPI
from lib.routes import install_threads
from monailabel.endpoints import datastore, info
from starlette.routing import Match


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/info/"),
        ("GET", "/datastore/"),
        ("PUT", "/datastore/"),
        ("PUT", "/datastore/image"),
        ("PUT", "/datastore/label"),
    ],
)
def test_requests_that_may_ask_a_dicomweb_server_run_in_threads(method, path):
    app = FastAPI()
    for endpoints in (info, datastore):
        app.include_router(endpoints.router)
    install_threads(app, lambda: None)
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    first = next(r for r in app.router.routes if r.matches(scope)[0] == Match.FULL)
    assert first.name == "threaded"
