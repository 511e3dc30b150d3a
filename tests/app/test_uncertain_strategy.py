"""The strategy `uncertainty`: nobody waits for another's scores, the model is chosen, weights are needed."""

import threading
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from lib import strategies
from lib.batch import ResumableBatch
from lib.gate import Gate
from lib.leased_strategy import LeasedStrategy
from lib.leases import Leases
from lib.model import ServedModel
from lib.retries import ImageTries
from lib.strategies import MostUncertain
from monailabel.tasks.activelearning.first import First

from conceptseg.image_formats import UnusableImageError

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


@pytest.fixture
def clock(monkeypatch):
    """Time that only moves when told; the strategy's budget goes by it."""
    made = SimpleNamespace(now=0.0)
    monkeypatch.setattr(strategies, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def failing(clock, tmp_path, monkeypatch):
    """The strategy, the images it reads, and by image an error and the seconds that it takes."""
    model, read, errors = scored_by("b", {"a": 0.9, "b": 0.1, "c": 0.5}), [], {}

    def case(path):
        image = path.rsplit("/")[-1]
        read.append(image)
        if image in errors:
            error, seconds = errors[image]
            clock.now += seconds
            raise error
        return image, False

    def get_image_uri(self, image):
        if isinstance(errors.get(image, (None,))[0], ConnectionError):
            read.append(image)
            raise errors[image][0]
        return str(tmp_path / image)

    model.case = case
    monkeypatch.setattr(Studies, "get_image_uri", get_image_uri)
    strategy = MostUncertain({"b": model})
    strategy._tries = ImageTries(lambda: clock.now)
    return strategy, read, errors


@pytest.mark.parametrize(
    "error",
    [
        UnusableImageError("Expected a picture, got a volume"),
        RuntimeError("CUDA out of memory"),
        ConnectionError("the DICOMweb server is restarted"),
    ],
)
def test_an_image_that_fails_leaves_the_others_scored_and_rests(failing, error):
    strategy, read, errors = failing
    errors["a"] = (error, 0)
    for _ in range(2):
        strategy.prepare({}, Studies())
        assert strategy({}, Studies())["id"] == "c"
    assert read == ["a", "b", "c"]  # each once


def test_an_error_that_passes_is_tried_again_and_a_file_when_it_has_changed(
    failing, clock, tmp_path
):
    strategy, read, errors = failing
    errors["a"] = (UnusableImageError("half a file"), 0)
    errors["b"] = (RuntimeError("CUDA out of memory"), 0)
    strategy.prepare({}, Studies())
    errors.clear()
    clock.now += 61
    strategy.prepare({}, Studies())
    assert read == ["a", "b", "c", "b"]
    (tmp_path / "a").write_text("a whole file")
    strategy.prepare({}, Studies())
    assert read[4:] == ["a"] and strategy({}, Studies())["id"] == "a"


def test_images_that_fail_use_up_the_time_as_well(failing):
    strategy, read, errors = failing
    errors |= {image: (UnusableImageError("a volume"), 30) for image in "ab"}
    strategy.prepare({}, Studies())
    assert read == ["a"]
    strategy.prepare({}, Studies())
    assert read == ["a", "b"]
    strategy.prepare({}, Studies())
    assert read == ["a", "b", "c"] and strategy({}, Studies())["id"] == "c"
