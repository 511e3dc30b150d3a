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
        _infers={}, _trainers={"b": trainer}, _scoring_methods={}, _strategies={},
        datastore=lambda: None,
    )  # fmt: skip
    app = FastAPI()
    app.post("/train/{model}")(lambda model: {"started": model})
    app.add_middleware(gate.Gate, instance=lambda: instance)
    return TestClient(app)


def post(client: TestClient, name: str):
    """Start a training as a person."""
    return client.post("/train/b", json={"epochs": 1}, headers={"Authorization": f"Bearer {name}"})


def test_labels_are_not_read_for_who_may_not_train(client, checked):
    answer = post(client, "reader")
    assert answer.status_code == 403 and "monailabel-admin" in answer.json()["detail"]
    assert checked == []


def test_labels_are_read_for_who_may_train(client, checked):
    assert post(client, "admin").json() == {"started": "b"}
    assert checked == [{"epochs": 1}]
