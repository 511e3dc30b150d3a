"""Volumes as slices: round trips, borders, padding and the drawing of training slices."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from conceptseg.slices import (
    SliceSamplesd,
    pad_to_multiple,
    slice_directions,
    slices_to_volume,
    volume_to_slices,
)


def numbered(shape=(1, 4, 5, 6)) -> torch.Tensor:
    """A volume whose voxels are all different."""
    return torch.arange(float(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_cutting_and_stacking_gives_the_volume_back(axis, channels):
    volume = numbered((channels, 4, 5, 6))
    slices = volume_to_slices(volume, axis)
    assert slices.shape[0] == volume.shape[axis + 1] and slices.shape[1] == channels
    assert torch.equal(slices_to_volume(slices, axis), volume)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_slice_is_numpy_s_slice(axis):
    volume = numbered()
    for i, plane in enumerate(volume_to_slices(volume, axis)):
        assert np.array_equal(plane[0].numpy(), np.take(volume[0].numpy(), i, axis))


def test_neighbours_stand_in_order_and_borders_are_repeated():
    volume = torch.arange(4.0).expand(1, 2, 3, 4)
    slices = volume_to_slices(volume, 2, context=2)
    assert slices.shape == (4, 5, 2, 3)
    expected = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    assert slices[:, :, 0, 0].tolist() == expected


def test_context_is_grouped_by_channel():
    volume = torch.stack([torch.arange(3.0), 10 + torch.arange(3.0)])[:, None, None]
    slices = volume_to_slices(volume, 2, context=1)
    assert slices[1, :, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]


def test_a_single_slice_is_its_own_context():
    slices = volume_to_slices(torch.full((1, 3, 3, 1), 7.0), 2, context=2)
    assert slices.shape == (1, 5, 3, 3) and (slices == 7).all()


def test_only_the_wanted_slices_are_cut():
    volume = numbered()
    whole = volume_to_slices(volume, 1, context=1)
    assert torch.equal(volume_to_slices(volume, 1, 1, [3, 0]), whole[[3, 0]])


@pytest.mark.parametrize(
    ("axis", "words"),
    [(0, ("anterior", "superior")), (1, ("right", "superior")), (2, ("right", "anterior"))],
)
def test_in_plane_directions_are_those_of_the_other_axes(axis, words):
    assert slice_directions(axis) == words


@pytest.mark.parametrize("divisor", [1, 4, 8])
@pytest.mark.parametrize("size", [(16, 24), (13, 9), (17, 40)])
def test_padding_is_undone_by_its_slices(divisor, size):
    image = torch.rand(2, 3, *size) + 1
    padded, inner = pad_to_multiple(image, divisor, minimum=12)
    assert torch.equal(padded[inner], image)
    for new, old in zip(padded.shape[2:], size, strict=True):
        assert new % divisor == 0 and max(old, 12) <= new < max(old, 12, 2 * divisor) + divisor
    assert padded.sum() == pytest.approx(float(image.sum()), rel=1e-5)  # padded with zeros


def test_padding_is_centred_and_spares_what_fits():
    padded, inner = pad_to_multiple(torch.ones(1, 8, 10), 8)
    assert padded.shape == (1, 16, 16) and inner == (..., slice(4, 12), slice(3, 13))
    image = torch.rand(1, 16, 24)
    assert torch.equal(pad_to_multiple(image, 8)[0], image)


def test_one_pixel_becomes_two_cells_and_comes_back():
    padded, inner = pad_to_multiple(torch.ones(1, 1, 1), 8)
    assert padded.shape == (1, 16, 16) and torch.equal(padded[inner], torch.ones(1, 1, 1))


def case() -> dict:
    """A volume whose value is its z index, foreground in z = 3 only."""
    label = torch.zeros(1, 10, 12, 8)
    label[0, 4:6, 4:8, 3] = 1
    image = torch.arange(8.0).expand(1, 10, 12, 8)
    return {"image": MetaTensor(image.clone()), "label": MetaTensor(label), "case": "a"}


def sampler(**changes) -> SliceSamplesd:
    """Four slices of 16 x 16."""
    transform = SliceSamplesd(["image", "label"], **({"num_samples": 4, "size": 16} | changes))
    transform.set_random_state(0)
    return transform


def test_samples_have_the_documented_shapes_and_keep_the_rest():
    samples = sampler(axes=(0, 1, 2), num_samples=12)(case())
    assert len(samples) == 12
    for item in samples:
        assert item["image"].shape == (5, 16, 16) and item["label"].shape == (1, 16, 16)
        assert item["case"] == "a"
    words = {item["directions"] for item in samples}
    assert words == {"anterior,superior", "right,superior", "right,anterior"}


def test_foreground_share_one_always_hits_the_object():
    for item in sampler(foreground_share=1.0, num_samples=10)(case()):
        assert item["label"].sum() == 8
        assert item["image"].amax(dim=(1, 2)).tolist() == [1, 2, 3, 4, 5]


def test_foreground_share_zero_draws_any_slice():
    drawn = {
        float(item["image"][2].max())
        for item in sampler(foreground_share=0.0, num_samples=40)(case())
    }
    assert drawn == {float(i) for i in range(8)}


def test_an_empty_label_is_sampled_all_the_same():
    data = case()
    data["label"] = torch.zeros(1, 10, 12, 8)
    samples = sampler(foreground_share=1.0)(data)
    assert len(samples) == 4 and not any(item["label"].any() for item in samples)


def test_larger_planes_are_cropped_around_their_centre():
    data = case()
    item = sampler(size=4, foreground_share=1.0)(data)[0]
    assert torch.equal(item["label"][0].as_tensor(), data["label"][0, 3:7, 4:8, 3].as_tensor())
