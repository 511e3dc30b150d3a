"""Copy-paste augmentation on images whose object is known."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from conceptseg.copy_paste import RandCopyPasted


def picture(box=(slice(4, 9), slice(20, 28)), value=1, size=40):
    """An image (3, size, size), 0.2 with an object of 0.9, and its label."""
    image = torch.full((3, size, size), 0.2)
    image[(slice(None), *box)] = 0.9
    label = torch.zeros(1, size, size)
    label[(0, *box)] = value
    return {"image": MetaTensor(image), "label": MetaTensor(label)}


def copier(prob=1.0, seed=0):
    """The transform, seeded."""
    transform = RandCopyPasted(["image", "label"], prob)
    transform.set_random_state(seed)
    return transform


def test_the_copy_looks_like_the_object_and_lies_apart_from_it():
    for seed in range(20):
        before = picture(value=2)
        after = copier(seed=seed)(before)
        parts, count = ndimage.label(np.asarray(after["label"])[0])
        assert count == 2
        assert [int((parts == i).sum()) for i in (1, 2)] == [40, 40]
        assert set(np.unique(np.asarray(after["label"]))) == {0, 2}
        inside = np.asarray(after["image"])[:, parts > 0]
        assert inside == pytest.approx(0.9)
        assert np.asarray(after["image"])[:, parts == 0] == pytest.approx(0.2)


def test_the_given_data_and_the_original_object_stay_as_they_were():
    before = picture()
    kept = {key: value.clone() for key, value in before.items()}
    after = copier()(before)
    assert all(torch.equal(before[key], kept[key]) for key in kept)
    object_mask = kept["label"][0] > 0
    assert torch.equal(after["label"][0][object_mask], kept["label"][0][object_mask])
    assert torch.equal(after["image"][:, object_mask], kept["image"][:, object_mask])


def test_copies_turn_up_all_over_the_image_and_mirrored():
    columns = set()
    for seed in range(60):
        label = np.asarray(copier(seed=seed)(picture())["label"])[0]
        label[4:9, 20:28] = 0
        columns.add(int(ndimage.center_of_mass(label)[0] * 3 / 40))
    assert columns == {0, 1, 2}
    slope = picture((slice(10, 16), slice(10, 16)))
    slope["image"][0, 10:16, 10:16] = torch.linspace(0.3, 0.9, 6)[:, None]  # darker on the left
    directions = set()
    for seed in range(20):
        after = copier(seed=seed)(slope)
        label = np.asarray(after["label"])[0].copy()
        label[10:16, 10:16] = 0
        rows = np.flatnonzero(label.any(axis=1))
        columns = np.flatnonzero(label.any(axis=0))
        line = np.asarray(after["image"])[0, rows[0] : rows[-1] + 1, columns[0]]
        directions.add(bool(line[-1] > line[0]))
    assert directions == {True, False}


@pytest.mark.parametrize(
    "box",
    [(slice(0, 0), slice(0, 0)), (slice(2, 38), slice(2, 38)), (slice(0, 40), slice(15, 25))],
    ids=["no object", "fills the image", "too large a band"],
)
def test_images_without_object_or_with_a_large_one_stay_as_they_are(box):
    before = picture(box)
    after = copier()(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_probability_is_kept_and_wrong_keys_are_refused():
    transform = copier(prob=0.25)
    changed = sum(float(transform(picture())["label"].sum()) > 40 for _ in range(400))
    assert changed == pytest.approx(100, abs=35)
    with pytest.raises(ValueError, match="keys of an image and its label"):
        RandCopyPasted(["image"])
