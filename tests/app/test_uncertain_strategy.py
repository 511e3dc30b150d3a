"""The strategy `uncertainty`: nobody waits for another's scores, the model is chosen, weights are needed."""

import threading
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from lib.batch import ResumableBatch
from lib.gate import Gate
from lib.leased_strategy import LeasedStrategy
from lib.leases import Leases
from lib.model import ServedModel
from lib.strategies import MostUncertain
from monailabel.tasks.activelearning.first import First

WAIT_SECONDS = 20


class Studies:
    """A datastore of three images without labels."""

    def get_unlabeled_images(self, tag=None, labels=None):
        return ["c", "b", "a"]

    def get_image_uri(self, image):
        return image


def scored_by(name: str, scores: dict[str, float], before=lambda: None) -> SimpleNamespace:
    """A model with these uncertainties; `before` is called before each."""

    def uncertainty(case):
        before()
        return [scores[case]]

    return SimpleNamespace(
        bundle=SimpleNamespace(name=name),
        network=lambda: ("v1", None),
        version=lambda: "v1",
        case=lambda path: (path, False),
        uncertainty=uncertainty,
    )


@pytest.fixture
def desk(tmp_path) -> SimpleNamespace:
    """What a strategy needs of the desk."""
    return SimpleNamespace(
        leases=Leases(tmp_path / "leases.json"),
        lock=threading.RLock(),
        correct=lambda *args: None,
    )


@pytest.fixture
def untrained(tmp_path) -> dict[str, ServedModel]:
    """A bundle without weights."""
    bundle = SimpleNamespace(
        path=tmp_path / "b",
        name="b",
        build_inferer=lambda: None,
        build_transforms=lambda: (None, None, None),
    )
    return {"b": ServedModel(bundle, tmp_path / "weights")}


def test_a_colleague_gets_an_image_while_another_waits_for_scores(desk):
    scoring, go_on = threading.Event(), threading.Event()

    def before():
        scoring.set()
        assert go_on.wait(WAIT_SECONDS)

    slow = MostUncertain({"b": scored_by("b", {"a": 0.9, "b": 0.1, "c": 0.5}, before)})
    offers = {}

    def ask(name, strategy):
        offers[name] = LeasedStrategy(name, strategy, desk)({"client_id": name}, Studies())

    ada = threading.Thread(target=ask, args=("ada", slow), daemon=True)
    ada.start()
    assert scoring.wait(WAIT_SECONDS)
    ben = threading.Thread(target=ask, args=("ben", First()), daemon=True)
    ben.start()
    ben.join(WAIT_SECONDS)
    assert offers["ben"]["id"] == "a" and "ada" not in offers
    go_on.set()
    ada.join(WAIT_SECONDS)
    assert offers["ada"]["id"] == "c"  # "a", the least certain one, is in other hands by now


def test_the_model_is_offered_and_its_scores_decide(desk):
    served = {
        "first": scored_by("first", {"a": 0.9, "b": 0.1, "c": 0.5}),
        "second": scored_by("second", {"a": 0.1, "b": 0.9, "c": 0.5}),
    }
    leased = LeasedStrategy("uncertainty", MostUncertain(served), desk)
    assert leased.info()["config"] == {"concepts": "", "model": ["first", "second"]}
    offer = leased({"client_id": "ada", "model": "second"}, Studies())
    assert (offer["id"], offer["model"], offer["scored"]) == ("b", "second", 3)
    assert desk.leases.release("b")["model"] == "second"
    assert leased({"client_id": "ben", "model": ["first", "second"]}, Studies())["id"] == "a"


def test_without_weights_the_strategy_says_so(desk, untrained):
    leased = LeasedStrategy("uncertainty", MostUncertain(untrained), desk)
    with pytest.raises(HTTPException, match="Expected weights of 'b'") as error:
        leased({"client_id": "ada"}, Studies())
    assert error.value.status_code == 400


def test_without_weights_a_batch_is_refused_before_it_starts(untrained):
    app = SimpleNamespace(served=untrained, _trainers={})
    gate = Gate(None, lambda: app)
    for refuse in (
        lambda: gate._check_body("/batch/infer/b_interactive", b"{}"),
        lambda: ResumableBatch(untrained)({"model": "b"}, Studies(), None),
    ):
        with pytest.raises(HTTPException, match="Train the bundle") as error:
            refuse()
        assert error.value.status_code == 400
