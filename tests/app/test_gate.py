"""What the gate checks before MONAI Label sees a request, and in which order."""

from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from lib import gate
from monailabel.endpoints.user.auth import User

ROLES = {"reader": ["monailabel-user"], "admin": ["monailabel-user", "monailabel-admin"]}


@pytest.fixture
def checked() -> list:
    """Requests whose saved labels were read."""
    return []


@pytest.fixture
def client(monkeypatch, checked) -> TestClient:
    """A server with sign-in and one trainer, behind the gate; a token is the name of a person."""
    monkeypatch.setattr(gate.settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(
        gate.auth, "from_token", lambda name: User(username=name, roles=ROLES[name])
    )
    trainer = SimpleNamespace(check=lambda params, datastore: checked.append(params))
    instance = SimpleNamespace(
        _infers={"b": None}, _trainers={"b": trainer}, _scoring_methods={}, _strategies={},
        datastore=lambda: None,
    )  # fmt: skip
    app = FastAPI()
    app.post("/train/{model}")(lambda model: {"started": model})
    app.post("/batch/infer/{model}")(lambda model: {"started": model})
    app.post("/infer/wsi_v2/{model}")(lambda model: {"saved": model})
    app.get("/rounds/")(lambda: {"page": "of the rounds"})
    app.add_middleware(gate.Gate, instance=lambda: instance)
    made = TestClient(app)
    made.trainer = trainer
    return made


def as_person(name: str) -> dict[str, str]:
    """Headers of a person."""
    return {"Authorization": f"Bearer {name}"}


def post(client: TestClient, name: str):
    """Start a training as a person."""
    return client.post("/train/b", json={"epochs": 1}, headers=as_person(name))


def test_labels_are_not_read_for_who_may_not_train(client, checked):
    answer = post(client, "reader")
    assert answer.status_code == 403 and "monailabel-admin" in answer.json()["detail"]
    assert checked == []


def test_labels_are_read_for_who_may_train(client, checked):
    assert post(client, "admin").json() == {"started": "b"}
    assert checked == [{"epochs": 1}]


def test_a_batch_which_saves_labels_is_not_for_everybody(client):
    answer = client.post("/batch/infer/b", json={}, headers=as_person("reader"))
    assert answer.status_code == 403 and "monailabel-admin" in answer.json()["detail"]


def test_a_fault_of_the_studies_is_told_in_a_sentence(client, checked, monkeypatch):
    def fails(params, datastore):
        raise ValueError("Expected a list of studies, got a file that is none")

    monkeypatch.setattr(client.trainer, "check", fails)
    answer = post(client, "admin")
    assert answer.status_code == 400 and "list of studies" in answer.json()["detail"]


def test_a_browser_without_a_token_is_led_from_the_rounds_to_the_form(client):
    answer = client.get("/rounds/", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Frounds%2F"
    assert client.get("/rounds/", headers=as_person("reader")).json() == {"page": "of the rounds"}


def test_requests_about_whole_slides_do_not_go_round_the_checks(client):
    answer = client.post("/infer/wsi_v2/b", headers=as_person("reader"))
    assert answer.status_code == 404 and "/infer/MODEL" in answer.json()["detail"]
