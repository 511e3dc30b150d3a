"""Concepts measured on phantoms agree with arithmetic."""

import math
import pickle

import numpy as np
import pytest

from conceptseg.concepts import Concepts, ConceptSource, MeasuredConcepts, component_masks
from conceptseg.concepts.measured import COLOR_PROTOTYPES

PHOTO = ("right", "bottom")
RAS = ("right", "anterior", "superior")
LPS = ("left", "posterior", "superior")
OTHER_SIDE = {"left": "right", "right": "left"}

measured = MeasuredConcepts()


def box(shape, *ranges):
    """A mask with one box, given as (start, stop) along each axis."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def ellipse(shape, centre, half_axes):
    """A mask with one ellipse or ellipsoid; centre and half axes in pixels."""
    grid = np.indices(shape).T
    return (((grid - centre) / half_axes) ** 2).sum(axis=-1).T <= 1


def describe(mask, axes=PHOTO, image=None, spacing=None):
    """Concepts of a mask."""
    return measured(image, mask, "polyp", axes, spacing)


def mirrored(location):
    """The location's mirror image, left for right."""
    return " ".join(OTHER_SIDE.get(word, word) for word in location.split())


def test_it_is_a_concept_source_that_loader_workers_can_receive():
    assert isinstance(measured, ConceptSource)
    mask = box((40, 40), (0, 9), (0, 9))
    copy = pickle.loads(pickle.dumps(measured))
    assert copy(None, mask, "polyp", PHOTO) == describe(mask)


def test_an_empty_mask_has_number_zero_and_nothing_else():
    image = np.ones((3, 20, 30))
    concepts = describe(np.zeros((20, 30)), image=image)
    assert concepts == Concepts(keyword="polyp", number=0)
    assert component_masks(np.zeros((20, 30))) == []


def test_one_pixel_is_one_tiny_round_object():
    mask = box((90, 60), (80, 81), (2, 3))
    found = measured.measure(None, mask, spacing=(2, 3))
    assert found.number == 1
    assert found.centroid == pytest.approx((80.5 / 90, 2.5 / 60))
    assert found.elongation == pytest.approx(1.5)  # a pixel is as long as its spacing
    assert found.compactness == pytest.approx(3 / math.pi)
    assert found.extent_mm == (2, 3)
    concepts = describe(mask)
    assert (concepts.shape, concepts.size, concepts.location) == ("round", "tiny", "top right")


def test_a_rectangle_is_measured_exactly():
    found = measured.measure(None, box((100, 80), (10, 20), (30, 50)), spacing=(0.5, 0.25))
    assert found.centroid == pytest.approx((0.15, 0.5))
    assert found.fraction == pytest.approx(200 / 8000)
    assert found.extent_mm == pytest.approx((5, 5))
    assert found.area_mm2 == pytest.approx(25)
    assert found.volume_ml is None
    assert found.elongation == pytest.approx(1)
    assert found.compactness == pytest.approx(3 / math.pi)


def test_elongation_of_a_rectangle_is_its_aspect_ratio():
    found = measured.measure(None, box((50, 50), (5, 10), (5, 35)))
    assert found.elongation == pytest.approx(6)
    assert found.extent_mm is None
    assert found.area_mm2 is None


def test_a_box_in_a_volume_is_measured_in_millimeters():
    mask = box((30, 20, 10), (0, 10), (0, 5), (0, 4))
    found = measured.measure(None, mask, spacing=(1, 2, 2.5))
    assert found.extent_mm == pytest.approx((10, 10, 10))
    assert found.volume_ml == pytest.approx(1)
    assert found.area_mm2 is None
    assert found.elongation == pytest.approx(1)
    assert found.compactness == pytest.approx(12**1.5 / (4 / 3 * math.pi * 5**1.5))


@pytest.mark.parametrize(
    ("half_axes", "shape"),
    [((20, 20), "round"), ((20, 16), "round"), ((12, 20), "oval"), ((8, 30), "elongated")],
)
def test_ellipses_are_named_by_their_elongation(half_axes, shape):
    mask = ellipse((100, 100), (50, 50), half_axes)
    found = measured.measure(None, mask)
    assert found.elongation == pytest.approx(max(half_axes) / min(half_axes), rel=0.03)
    assert found.compactness == pytest.approx(1, abs=0.02)
    assert describe(mask).shape == shape


def test_an_ellipsoid_is_compact():
    found = measured.measure(None, ellipse((60, 50, 40), (30, 25, 20), (24, 12, 12)))
    assert found.elongation == pytest.approx(2, rel=0.03)
    assert found.compactness == pytest.approx(1, abs=0.03)


def test_a_ring_is_irregular():
    ring = ellipse((100, 100), (50, 50), (20, 20)) & ~ellipse((100, 100), (50, 50), (15, 15))
    found = measured.measure(None, ring)
    assert found.compactness == pytest.approx((20**2 - 15**2) / (20**2 + 15**2), abs=0.02)
    assert describe(ring).shape == "irregular"


def test_shape_is_that_of_the_patient_not_of_the_pixels():
    mask = ellipse((100, 100), (50, 50), (30, 15))
    assert describe(mask).shape == "oval"
    assert describe(mask, spacing=(1, 2)).shape == "round"


@pytest.mark.parametrize(
    ("pixels", "size"),
    [
        (99, "tiny"),
        (100, "small"),
        (499, "small"),
        (500, "medium"),
        (1499, "medium"),
        (1500, "large"),
    ],
)
def test_size_follows_the_covered_share(pixels, size):
    mask = np.arange(10000).reshape(100, 100) < pixels
    assert describe(mask).size == size


def test_several_objects_are_counted_and_specks_are_not():
    mask = box((60, 60), (0, 10), (0, 10)) | box((60, 60), (20, 25), (20, 24))
    mask[50, 50] = True  # 1 % of the largest
    assert describe(mask).number == 2
    mask[50, 51] = True  # 2 %
    assert describe(mask).number == 3
    assert MeasuredConcepts(min_component_fraction=0.3)(None, mask, "polyp", PHOTO).number == 1


def test_objects_that_touch_at_a_corner_are_one():
    assert describe(np.eye(5)).number == 1


def test_component_masks_come_largest_first_and_make_up_the_mask():
    small, large = box((30, 30), (0, 3), (0, 3)), box((30, 30), (10, 20), (10, 20))
    parts = component_masks(small | large)
    assert [int(part.sum()) for part in parts] == [100, 9]
    assert (parts[0] == large).all()
    assert (parts[1] == small).all()


@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("row", range(3))
def test_each_cell_of_a_photo_has_its_name(column, row):
    mask = box((90, 60), (30 * column + 10, 30 * column + 20), (20 * row + 5, 20 * row + 15))
    words = (("top", "", "bottom")[row], ("left", "", "right")[column])
    name = " ".join(w for w in words if w) or "center"
    assert describe(mask).location == name
    assert describe(mask.T, ("bottom", "right")).location == name


def test_flips_of_a_photo_exchange_left_and_right():
    draw = np.random.default_rng(0)
    for _ in range(50):
        start = draw.integers(0, 40, 2)
        mask = box((60, 50), *((s, s + draw.integers(1, 10)) for s in start))
        if not mask.any():
            continue
        original, flipped = describe(mask), describe(mask[::-1])
        assert flipped == original.model_copy(update={"location": mirrored(original.location)})
        assert describe(mask[::-1], ("left", "bottom")) == original


def test_ras_and_lps_describe_the_same_patient():
    draw = np.random.default_rng(0)
    sides = set()
    for _ in range(50):
        start = draw.integers(0, 15, 3)
        ras = box((20, 16, 18), *((s, s + draw.integers(1, 8)) for s in start))
        if not ras.any():
            continue
        image = draw.normal(size=(1, *ras.shape))
        concepts = describe(ras, RAS, image)
        assert describe(ras[::-1, ::-1], LPS, image[:, ::-1, ::-1]) == concepts
        sides.add((concepts.laterality, concepts.level))
    assert len(sides) == 6  # all of them occurred


def test_a_flipped_volume_has_the_other_side_and_level():
    mask = box((20, 20, 30), (12, 16), (8, 12), (22, 27))
    concepts = describe(mask, RAS)
    assert (concepts.laterality, concepts.level, concepts.location) == (
        "right",
        "superior",
        "right",
    )
    assert describe(mask[::-1], RAS).laterality == "left"
    assert describe(mask[:, :, ::-1], RAS).level == "inferior"
    assert describe(np.swapaxes(mask, 0, 2), ("superior", "anterior", "right")).level == "superior"


def test_the_location_in_a_volume_is_said_in_the_plane_of_its_slices():
    mask = box((30, 30, 30), (1, 5), (25, 29), (25, 29))
    names = [MeasuredConcepts(slice_axis=i)(None, mask, "x", RAS).location for i in range(3)]
    assert names == ["superior anterior", "superior left", "anterior left"]


def test_an_image_has_neither_side_nor_level():
    for axes in (PHOTO, ("right", "superior")):
        concepts = describe(box((30, 30), (0, 5), (0, 5)), axes)
        assert (concepts.laterality, concepts.level) == (None, None)


@pytest.mark.parametrize(("value", "word"), [(1, "bright"), (-1, "dark")])
def test_contrast_is_the_difference_in_standard_deviations(value, word):
    mask = box((40, 40), (10, 18), (10, 18))  # 64 pixels; rim 2 wide: 4 * 8 * 2 + 4 * 1 = 68
    inside = 64 / (64 + 68)
    found = measured.measure(100 + value * mask[None], mask)
    assert found.contrast == pytest.approx(value / math.sqrt(inside * (1 - inside)))
    assert found.mean_color is None
    assert describe(mask, image=100 + value * mask[None]).intensity == word


def test_an_even_image_is_isointense():
    concepts = describe(box((20, 20), (5, 9), (5, 9)), image=np.full((1, 20, 20), 7))
    assert concepts.intensity == "isointense"
    assert concepts.color is None


def test_an_object_that_fills_the_image_has_no_rim_to_compare_with():
    concepts = describe(np.ones((8, 12)), image=np.ones((1, 8, 12)))
    assert concepts == Concepts(
        keyword="polyp", number=1, location="center", shape="oval", size="large"
    )


@pytest.mark.parametrize("name", COLOR_PROTOTYPES)
def test_colors_are_named_whatever_their_range(name):
    mask = box((16, 12), (2, 6), (2, 6))
    image = np.zeros((3, 16, 12))
    image[:, mask] = np.array(COLOR_PROTOTYPES[name])[:, None]
    image[:, 0, 0] = 1  # white outside: the range shows, the object stays as it is
    for variant in (image, image * 255.0, np.round(image * 255).astype(np.uint8)):
        concepts = describe(mask, image=variant)
        assert concepts.color == name
        assert concepts.intensity is None


def test_the_mean_color_is_that_of_the_object_alone():
    mask = box((10, 10), (0, 2), (0, 1))
    image = np.ones((3, 10, 10))
    image[:, 0, 0] = (1, 0, 0)
    image[:, 1, 0] = (0, 0, 1)
    assert measured.measure(image, mask).mean_color == pytest.approx((0.5, 0, 0.5))


@pytest.mark.parametrize(
    ("image", "mask", "axes", "spacing", "message"),
    [
        (
            (1, 10, 12),
            (12, 10),
            PHOTO,
            None,
            r"expected an image \(1 or 3, 12, 10\).*\(1, 10, 12\)",
        ),
        ((2, 12, 10), (12, 10), PHOTO, None, r"got \(2, 12, 10\); give the image"),
        ((12, 10), (12, 10), PHOTO, None, r"expected an image"),
        (None, (12, 10), RAS, None, "expected 2 axes"),
        (None, (12, 10), PHOTO, (1, 1, 1), r"expected 2 positive spacings.*\(1, 1, 1\)"),
        (None, (12, 10), PHOTO, (1, 0), "expected 2 positive spacings"),
    ],
)
def test_what_does_not_fit_is_refused(image, mask, axes, spacing, message):
    image = None if image is None else np.zeros(image)
    with pytest.raises(ValueError, match=message):
        measured(image, np.ones(mask), "polyp", axes, spacing)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_a_mask_has_two_or_three_axes(shape):
    with pytest.raises(ValueError, match="expected a mask with 2 or 3 axes, got shape"):
        measured.measure(None, np.ones(shape))
