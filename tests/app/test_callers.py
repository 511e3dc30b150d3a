"""The name under which a caller is known: the token's, the client's own, or the computer's."""

import json

import pytest
from fastapi import Depends, FastAPI, Form
from fastapi.testclient import TestClient
from lib import callers
from monailabel.endpoints.user.auth import User


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("ada", "ada"),
        (" ada ", "ada"),
        ("user-xyz", "user-xyz at 10.0.0.7"),
        ("", "unnamed client at 10.0.0.7"),
        (None, "unnamed client at 10.0.0.7"),
    ],
)
def test_a_client_without_a_name_of_its_own_is_told_apart_by_its_address(sent, expected):
    assert callers.caller_name(sent, "admin", "10.0.0.7") == expected


def test_who_signed_in_cannot_call_himself_another(monkeypatch):
    monkeypatch.setattr(callers.settings, "MONAI_LABEL_AUTH_ENABLE", True)
    assert callers.caller_name("ben", "ada", "10.0.0.7") == "ada"


@pytest.fixture
def client():
    """A server with one endpoint that takes JSON, as /activelearning, and one with a form, as /datastore."""

    def user() -> User:
        return User(username="admin")

    async def sample(strategy: str, params: dict | None = None, user: User = Depends(user)):  # noqa: B008
        return {"strategy": strategy, "params": params}

    async def save(image: str, params: str = Form("{}"), user: User = Depends(user)):  # noqa: B008
        return {"image": image, "params": json.loads(params)}

    app = FastAPI()
    app.post("/activelearning/{strategy}")(callers.named(sample))
    app.put("/datastore/label")(callers.named(save))
    return TestClient(app, client=("10.0.0.7", 50000), raise_server_exceptions=False)


def test_an_endpoint_is_told_who_calls_and_all_else_as_it_was_sent(client):
    answer = client.post("/activelearning/first", json={"client_id": "user-xyz", "batch": 3})
    assert answer.json() == {
        "strategy": "first",
        "params": {"client_id": "user-xyz at 10.0.0.7", "batch": 3},
    }
    nothing_sent = client.post("/activelearning/first")
    assert nothing_sent.json()["params"] == {"client_id": "unnamed client at 10.0.0.7"}


def test_a_form_is_told_who_calls(client):
    form = {"params": json.dumps({"client_id": "ada", "label_info": [{"name": "polyp"}]})}
    answer = client.put("/datastore/label?image=case_1", data=form)
    assert answer.json()["image"] == "case_1"
    assert answer.json()["params"] == {"client_id": "ada", "label_info": [{"name": "polyp"}]}


def test_params_that_are_no_object_are_refused(client):
    answer = client.put("/datastore/label?image=case_1", data={"params": "[1]"})
    assert answer.status_code == 400 and "got list" in answer.json()["detail"]
