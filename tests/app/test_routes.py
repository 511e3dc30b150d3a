"""Which requests run in threads, so that they do not stop each other, and what an inference may save."""

import json
import threading
from types import SimpleNamespace

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.testclient import TestClient
from lib import routes
from lib.routes import checked_inference, install_threads, threaded
from monailabel.endpoints import datastore, info, train
from monailabel.endpoints.user.auth import User
from starlette.routing import Match


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/info/"),
        ("GET", "/datastore/"),
        ("PUT", "/datastore/"),
        ("PUT", "/datastore/image"),
        ("PUT", "/datastore/label"),
        ("HEAD", "/datastore/image"),
        ("HEAD", "/datastore/label"),
        ("PUT", "/datastore/image/info"),
        ("PUT", "/datastore/label/info"),
        ("PUT", "/datastore/updatelabelinfo"),
        ("DELETE", "/datastore/"),
        ("DELETE", "/datastore/image"),
        ("DELETE", "/datastore/label"),
        ("POST", "/train/"),
    ],
)
def test_requests_that_may_ask_a_dicomweb_server_run_in_threads(method, path):
    app = FastAPI()
    for endpoints in (info, datastore, train):
        app.include_router(endpoints.router)
    install_threads(app, lambda: None)
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    first = next(r for r in app.router.routes if r.matches(scope)[0] == Match.FULL)
    assert first.name == "threaded"


@pytest.mark.parametrize("make", [dict, list])
def test_a_long_list_is_written_as_json_in_the_thread_as_well(monkeypatch, make):
    written, cleaned, encode = [], [], routes.jsonable_encoder

    def noted(value):
        written.append(threading.current_thread())
        return encode(value)

    monkeypatch.setattr(routes, "jsonable_encoder", noted)
    loop: list[threading.Thread] = []
    content = make({"case_0": 1})

    async def objects(background_tasks: BackgroundTasks):
        background_tasks.add_task(cleaned.append, "the file that was sent")
        return content

    app = FastAPI()

    @app.get("/loop")
    async def here():
        loop.append(threading.current_thread())

    app.get("/objects")(threaded(objects))
    with TestClient(app) as client:
        client.get("/loop")
        assert client.get("/objects").json() == content
    assert len(written) == 1 and written[0] not in loop
    assert cleaned == ["the file that was sent"]


@pytest.fixture
def infer(monkeypatch):
    """Run an inference with these options as a person with these roles."""
    monkeypatch.setattr(routes.settings, "MONAI_LABEL_AUTH_ENABLE", True)

    async def endpoint(params, session_id, image, file, label, user):
        return "done"

    call = threaded(checked_inference(endpoint, lambda: SimpleNamespace(sessions=lambda: None)))

    def run(options: dict, roles: list[str]) -> str:
        return call(
            params=json.dumps(options),
            session_id="",
            image="case_0",
            file=None,
            label=None,
            user=User(username="ada", roles=roles),
        )

    return run


@pytest.mark.parametrize("flag", [True, "true", 1, ["yes"]])
def test_only_annotators_let_an_answer_be_saved_as_a_label(infer, flag):
    options = {"save_label": flag, "label_tag": "final"}
    with pytest.raises(HTTPException, match="monailabel-annotator") as error:
        infer(options, ["monailabel-user"])
    assert error.value.status_code == 403
    assert infer(options, ["monailabel-user", "monailabel-annotator"]) == "done"
    assert infer({"save_label": False}, ["monailabel-user"]) == "done"
    assert infer({}, ["monailabel-user"]) == "done"
