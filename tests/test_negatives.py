"""Images without an object, cut beside one."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from conceptseg.negatives import RandCropBesided, parts_beside


def pair(columns, rows, size=40):
    """A dark image (3, size, size) with a bright object, and its label."""
    image, label = torch.zeros(3, size, size), torch.zeros(1, size, size)
    image[:, columns, rows] = 1.0
    label[:, columns, rows] = 2
    return {"image": MetaTensor(image), "label": MetaTensor(label)}


def test_parts_beside_an_object_are_wide_and_the_largest_comes_first():
    mask = np.zeros((40, 100), dtype=bool)
    mask[4:10, 60:65] = True  # left 4, right 30 of 40; above 60, below 35 of 100
    assert parts_beside(mask) == [(0, 10, 30), (1, 0, 60), (1, 65, 35)]
    assert parts_beside(np.zeros((8, 8), dtype=bool)) == []
    assert parts_beside(np.ones((8, 8), dtype=bool)) == []


def test_nothing_of_the_object_is_left_and_the_size_stays():
    transform = RandCropBesided(["image", "label"], prob=1.0)
    for seed in range(20):
        transform.set_random_state(seed)
        before = pair(slice(12, 20), slice(14, 22))
        after = transform(before)
        assert after["image"].shape == before["image"].shape
        assert float(after["image"].max()) == 0 and float(after["label"].max()) == 0
        assert float(before["label"].max()) == 2  # the given data stay


def test_a_part_is_scaled_up_to_the_whole():
    data = pair(slice(0, 10), slice(0, 40))
    data["image"][0, 25:] = 0.5  # the right half of what is left of the image
    after = RandCropBesided(["image", "label"], prob=1.0)(data)["image"]
    assert float(after[0, :18].max()) == 0 and after[0, 22:] == pytest.approx(0.5)


def test_large_objects_and_low_probability_leave_images_alone():
    large = pair(slice(5, 35), slice(5, 35))
    after = RandCropBesided(["image", "label"], prob=1.0)(large)
    assert torch.equal(after["image"], large["image"]) and after["label"].max() == 2
    transform = RandCropBesided(["image", "label"], prob=0.1)
    transform.set_random_state(0)
    small = pair(slice(12, 20), slice(14, 22))
    emptied = sum(float(transform(small)["label"].max()) == 0 for _ in range(400))
    assert emptied == pytest.approx(40, abs=20)
    with pytest.raises(ValueError, match="keys of an image and its label"):
        RandCropBesided(["label"])
