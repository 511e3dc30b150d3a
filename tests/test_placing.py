"""What a named place keeps of an image's mask, and what is drawn where the mask is empty."""

import numpy as np
import pytest
import torch

from conceptseg.placing import is_beside, is_centred_beside, keep_at

SIZE = 36  # cells of 12 pixels


def image(*regions, usual=0.001):
    """Probabilities (36, 36) with squares of (column, row, size, probability)."""
    result = torch.full((SIZE, SIZE), usual)
    for column, row, size, probability in regions:
        result[column : column + size, row : row + size] = probability
    return result


def square(column, row, size):
    """Where such a square is."""
    return image((column, row, size, 1.0)) > 0.5


OTHER = (2, 2, 6, 0.99)  # an object in the top left


def test_a_part_in_the_place_stays_as_it_is_and_the_others_go():
    both = image(OTHER, (28, 28, 4, 0.8))
    kept = keep_at("bottom right", both)
    assert torch.equal(kept > 0.5, square(28, 28, 4))
    assert torch.equal(kept[28:32, 28:32], both[28:32, 28:32])
    assert torch.equal(kept[both < 0.5], both[both < 0.5])


@pytest.mark.parametrize("peak", [0.03, 0.1, 0.4])
def test_the_likeliest_region_is_drawn_where_no_part_lies_in_the_place(peak):
    """Out of the network's own doubt, not out of another object."""
    doubtful = image(OTHER, (27, 27, 6, 0.5 * peak), (29, 29, 2, peak))
    kept = keep_at("bottom right", doubtful)
    assert torch.equal(kept > 0.5, square(27, 27, 6))
    assert kept[29, 29] == kept.max() < 1
    assert kept[:12, :12].max() <= 0.5  # the other object


def test_order_and_border_of_the_region_stay_soft():
    slope = torch.full((SIZE, SIZE), 0.001)
    slope[26:34, 30] = torch.tensor([0.01, 0.04, 0.1, 0.3, 0.4, 0.2, 0.05, 0.01])
    kept = keep_at("bottom right", slope)[26:34, 30]
    assert torch.equal(kept.argsort(), slope[26:34, 30].argsort())
    height = 0.001 + 0.2 * (0.4 - 0.001)  # between median and peak
    assert torch.equal(kept > 0.5, slope[26:34, 30] > height)
    assert kept[0] > 0.01  # the border's odds rise with the rest


@pytest.mark.parametrize(
    "cell",
    [
        image(OTHER),  # nothing
        image(OTHER, (28, 28, 3, 0.019)),  # a peak too low
        image(OTHER, (24, 24, 12, 0.2)),  # even
        image(OTHER, (24, 24, 12, 0.2), (28, 28, 3, 0.39)),  # hardly above the rest of the cell
        image(OTHER, (28, 28, 1, 0.3)),  # a speck beside the object
    ],
)
def test_nothing_is_drawn_where_nothing_stands_out(cell):
    assert keep_at("bottom right", cell).max() <= 0.5


def test_where_nothing_stands_out_the_parts_beside_the_place_stay():
    beside = image((14, 2, 6, 0.9), (28, 14, 6, 0.9))
    assert torch.equal(keep_at("top left", beside) > 0.5, square(14, 2, 6))


def test_a_part_whose_centre_lies_hardly_outside_is_in_the_place():
    """Nobody draws the cells' borders when naming a place."""
    near = image((10, 2, 8, 0.9), (2, 6, 3, 0.3))  # centre at 13.5 of 12
    assert torch.equal(keep_at("top left", near) > 0.5, square(10, 2, 8))
    farther = image((12, 2, 8, 0.9), (2, 6, 3, 0.3))  # at 15.5
    assert torch.equal(keep_at("top left", farther) > 0.5, square(2, 6, 3))


def test_what_reaches_into_the_place_is_kept_the_less_the_farther_it_lies():
    across = torch.full((SIZE, SIZE), 0.001)
    across[1:34, 4:8] = 0.9  # from the left to the right; its centre is in the middle
    kept = keep_at("top left", across) > 0.5
    # its odds of 9 are 41 times those of the outline, 3.7 on a log scale: 10 times 0.61 cells squared
    assert torch.equal(kept[:, 5].nonzero().flatten(), torch.arange(1, 19))
    assert not kept[:, :4].any() and not kept[:, 8:].any()
    across[1:34, 4:8] = 0.6
    assert (keep_at("top left", across) > 0.5)[:, 5].nonzero().max() < 18


def test_what_goes_on_beyond_the_place_ends_round():
    everywhere = torch.full((SIZE, SIZE), 0.9)
    everywhere[:6] = 0.001  # its centre is farther right than the middle
    kept = keep_at("left", everywhere) > 0.5
    rows = kept.sum(dim=1)[12:]  # beyond the cell it grows narrower, column by column
    assert rows[0] > rows[3] > rows[5] > 0 and rows.diff().max() <= 0


def test_cells_follow_the_axes_of_an_oblong_image():
    wide = torch.full((60, 15), 0.001)
    wide[50:54, 6:9] = 0.2
    for place, found in (("right", True), ("center", False), ("bottom", False)):
        assert bool((keep_at(place, wide) > 0.5).any()) is found


def test_the_input_stays_and_the_same_kind_of_tensor_comes_back():
    half = image(OTHER).half()
    before = half.clone()
    assert keep_at("bottom right", half).dtype == torch.float16
    assert torch.equal(half, before)
    patient = keep_at("posterior", half)  # no place of an image
    assert torch.equal(patient, half) and patient is not half


def test_extreme_probabilities_give_finite_ones():
    sure = image((28, 28, 4, 1.0), usual=0.0)
    for place in ("bottom right", "right", "center", "left"):
        kept = np.asarray(keep_at(place, sure))
        assert np.isfinite(kept).all() and kept.min() >= 0 and kept.max() <= 1


@pytest.mark.parametrize(
    ("place", "mask", "expected"),
    [
        ("top left", image(OTHER), False),
        ("top", image(OTHER), True),
        ("bottom right", image(OTHER), True),
        ("top left", image((10, 2, 8, 0.9)), False),  # hardly outside
        ("top", image(OTHER, (16, 2, 4, 0.9)), False),  # one of them
        ("top", image(), False),  # nothing at all
        ("posterior", image(OTHER), False),  # no place of an image
    ],
)
def test_a_mask_beside_its_place_is_told(place, mask, expected):
    assert is_beside(place, mask) is expected


@pytest.mark.parametrize(
    ("place", "mask", "expected"),
    [
        ("top", image(OTHER, (28, 2, 6, 0.9)), False),  # between the two
        ("top left", image(OTHER, (28, 2, 6, 0.9)), True),
        ("bottom", image(OTHER, (28, 2, 6, 0.9)), True),
        ("left", image((2, 2, 6, 0.9), (2, 28, 6, 0.9)), False),
        ("top", image(), False),
        ("posterior", image(OTHER), False),
    ],
)
def test_the_common_centre_of_parts_beside_its_place_is_told(place, mask, expected):
    assert is_centred_beside(place, mask) is expected
