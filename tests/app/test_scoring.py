"""Scores kept with the studies: one image or label that fails leaves the others scored."""

from types import SimpleNamespace

import numpy as np
import pytest
from lib.scoring import DiceScore, UncertaintyScore


class Studies:
    """A datastore of two images; getting the file of the first fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.noted: dict[str, dict] = {}
        entry = SimpleNamespace(labels={"final": "there"})
        self._datastore = SimpleNamespace(objects={"a": entry, "b": entry})

    def get_unlabeled_images(self):
        return ["b", "a"]

    def get_image_uri(self, image):
        if image == "a":
            raise self.error
        return image

    def get_label_uri(self, image, tag):
        return image

    def get_label_info(self, image, tag):
        return {}

    def update_image_info(self, image, info):
        self.noted[image] = info

    def update_label_info(self, image, tag, info):
        self.noted[image] = info


@pytest.fixture
def served() -> dict:
    """A bundle whose model is half certain of everything."""
    bundle = SimpleNamespace(name="fish", keywords=("head",), labels={"head": 1}, dimension=2)
    model = SimpleNamespace(
        bundle=bundle,
        version=lambda: "v1",
        case=lambda path: (path, False),
        uncertainty=lambda case: [0.5],
    )
    return {"fish": model}


ERRORS = [RuntimeError("CUDA out of memory"), ConnectionError("no server"), KeyError("series")]


@pytest.mark.parametrize("error", ERRORS)
def test_an_image_that_fails_leaves_the_uncertainty_of_the_others(served, error, caplog):
    studies = Studies(error)
    found = UncertaintyScore(served)({}, studies)
    assert found == {"model": "fish", "cases": 1, "uncertainty": {"b": 0.5}}
    assert studies.noted == {"b": {"uncertainty": 0.5}} and "'a' cannot be scored" in caplog.text


@pytest.mark.parametrize("error", ERRORS)
def test_a_label_that_fails_leaves_the_dice_of_the_others(served, error, monkeypatch, caplog):
    rows = [{"label": "head", "dice": np.float64(0.75)}]
    monkeypatch.setattr(DiceScore, "_rows", staticmethod(lambda *arguments: rows))
    studies = Studies(error)
    found = DiceScore(served)({}, studies)
    assert found["dice"] == {"b": {"head": 0.75}} and found["mean_dice"] == 0.75
    assert studies.noted == {"b": {"score": {"dice": {"head": 0.75}, "model_version": "v1"}}}
    assert "label of 'a' cannot be scored" in caplog.text
