"""Scoring in the background: which images are tried again after an error, and when."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lib import background
from lib.background import BackgroundScores
from lib.faults import FileState, read_image
from lib.retries import ImageTries, Retries
from monai.transforms import Compose, LoadImaged
from PIL import Image

from conceptseg.active_learning import CaseRecord
from conceptseg.image_formats import UnusableImageError
from conceptseg.image_io import ConceptImageReader

LOAD = Compose([LoadImaged("image", reader=ConceptImageReader(), ensure_channel_first=True)])


class Clock:
    """Time that only moves when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Studies:
    """A datastore of the photographs of a folder; `errors` are raised once each, by image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: dict[str, Exception] = {}

    def list_images(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.png")]

    def get_image_uri(self, image: str) -> str:
        if image in self.errors:
            raise self.errors.pop(image)
        return str(self.folder / image)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def studies(tmp_path) -> Studies:
    """Two photographs, the first of them damaged."""
    (tmp_path / "damaged.png").write_bytes(b"half a photograph")
    Image.new("RGB", (8, 6)).save(tmp_path / "good.png")
    return Studies(tmp_path)


@pytest.fixture
def scores(tmp_path, clock, monkeypatch) -> BackgroundScores:
    """Background scores of a bundle whose scorer gives blank records."""
    scorer = SimpleNamespace(score=lambda name, image: CaseRecord.blank(name, 1))
    monkeypatch.setattr(background, "CaseScorer", lambda network, inferer: scorer)
    weights = tmp_path / "model.pt"
    weights.write_text("v1")
    model = SimpleNamespace(
        weights=weights,
        bundle=SimpleNamespace(build_transforms=lambda: (LOAD, None, None)),
        inferer=None,
        device=torch.device("cpu"),
        is_valid=lambda: True,
        version=lambda: "v1",
        network=lambda: ("v1", None),
    )
    made = BackgroundScores({"b": model}, tmp_path / "scores")
    made._retries, made._tries = Retries(clock), ImageTries(clock)
    return made


def look(scores: BackgroundScores, studies: Studies) -> list[str]:
    """One round; gives the scored images."""
    scores._look("b", scores.served["b"], studies)
    return sorted(scores._files["b"][0].records)


def test_an_image_is_scored_after_an_error_that_passed(scores, studies, clock):
    studies.errors["good.png"] = ConnectionError("the server is restarted")
    assert look(scores, studies) == []
    clock.now += 59
    assert look(scores, studies) == []
    clock.now += 2
    assert look(scores, studies) == ["good.png"]


def test_a_damaged_file_is_read_again_only_when_it_has_changed(scores, studies, clock):
    read = []
    studies.get_image_uri = lambda image: read.append(image) or str(studies.folder / image)
    assert look(scores, studies) == ["good.png"]
    clock.now += 10_000
    look(scores, studies)
    assert read == ["damaged.png", "good.png"]
    Image.new("RGB", (8, 6)).save(studies.folder / "damaged.png")
    assert look(scores, studies) == ["damaged.png", "good.png"]


def test_a_file_of_no_use_to_one_bundle_may_be_of_use_to_another(scores, studies):
    look(scores, studies)
    good = scores.served["b"]
    other = SimpleNamespace(**vars(good))
    other.bundle = SimpleNamespace(
        build_transforms=lambda: (lambda data: {"image": torch.zeros(1)}, None, None)
    )
    scores._files["c"] = []
    scores._look("c", other, studies)
    assert sorted(scores._files["c"][0].records) == ["damaged.png", "good.png"]


def test_weights_that_do_not_fit_are_not_loaded_at_every_look(scores, studies, clock):
    model, loads = scores.served["b"], []

    def network():
        loads.append(1)
        raise ValueError("Expected weights that fit")

    model.network = network
    for _ in range(3):
        scores._look("b", model, studies)
    assert len(loads) == 1
    model.weights.write_text("version 2")
    model.version, model.network = lambda: "v2", lambda: ("v2", None)
    assert look(scores, studies) == ["good.png"]  # new weights do not wait


def test_refused_weights_get_no_scores_of_their_own(scores, studies):
    told = []
    scores.on_version = lambda name, version: told.append(version)
    look(scores, studies)
    scores.served["b"].weights.write_text("damaged")  # the model goes on with v1
    assert look(scores, studies) == ["good.png"]
    assert told == ["v1"] and [file.version for file in scores._files["b"]] == ["v1"]


def test_an_error_on_the_way_to_the_file_is_no_fault_of_the_file(scores, studies, clock):
    studies.errors["good.png"] = UnusableImageError("the series is not whole yet")
    assert look(scores, studies) == []
    clock.now += 61
    assert look(scores, studies) == ["good.png"]


def test_pauses_double_up_to_an_hour(clock):
    retries = Retries(clock)
    assert retries.is_due("a")
    assert [retries.failed("a") for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert not retries.is_due("a") and retries.is_due("b")
    retries.succeeded("a")
    assert retries.is_due("a") and retries.failed("a") == 60


def test_only_the_content_of_a_file_makes_it_unusable(studies):
    with pytest.raises(UnusableImageError, match=r"damaged\.png"):
        read_image(LOAD, str(studies.folder / "damaged.png"))

    def fails(cause: Exception):
        def transform(data):
            try:
                raise cause
            except Exception as error:
                raise UnusableImageError("Expected a readable image") from error

        return transform

    for cause in (OSError(errno.EMFILE, "Too many open files"), MemoryError("no memory")):
        with pytest.raises(RuntimeError, match=str(cause.args[-1])):
            read_image(fails(cause), "a.png")
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        read_image(LOAD, str(studies.folder / "missing.png"))


def test_a_file_that_was_written_again_has_changed(tmp_path):
    path = tmp_path / "a"
    missing = FileState(str(path))
    path.write_text("one")
    written = FileState(str(path))
    assert missing.has_changed() and not written.has_changed()
    path.write_text("longer")
    assert written.has_changed()
