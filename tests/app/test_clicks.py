"""Points and boxes as the clients send them, and the regions they mark."""

from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import HTTPException
from lib import clicks

VOLUME = SimpleNamespace(
    keywords=("head", "tail"), labels={"head": 1, "tail": 2}, dimension=3, name="fish"
)
PHOTO = SimpleNamespace(keywords=("polyp",), labels={"polyp": 1}, dimension=2, name="polyp")
IDENTITY = np.eye(4)


def two_blocks() -> np.ndarray:
    """Probabilities (10, 4) with blocks at 1..2 (0.9) and 6..7 (0.2)."""
    result = np.zeros((10, 4), dtype=np.float32)
    result[1:3], result[6:8] = 0.9, 0.2
    return result


EVERYWHERE = np.ones((10, 4), dtype=bool)


@pytest.mark.parametrize(
    "request_",
    [
        {"tail": [[1, 2, 3]]},
        {"tail": "[[1, 2, 3]]"},
        {"tail": [1, 2, 3]},
        {"foreground": [[1, 2, 3]], "label": "tail"},
        {"points": [[1, 2, 3]], "point_labels": [1], "label_prompt": [2]},
        {"points": [[1, 2, 3]], "label_prompt": "tail"},
    ],
)
def test_every_client_form_names_the_same_point(request_):
    found = clicks.read_clicks(request_, VOLUME)
    assert list(found.foreground) == ["tail"]
    np.testing.assert_array_equal(found.foreground["tail"], [[1, 2, 3]])
    assert found.background.shape == (0, 3)


def test_point_without_a_label_belongs_to_whatever_is_there():
    found = clicks.read_clicks({"foreground": [[1, 2, 3]]}, VOLUME)
    assert list(found.foreground) == [None]


def test_sign_zero_is_a_background_point():
    request = {"points": [[1, 2, 3], [4, 5, 6]], "point_labels": [1, 0], "background": [[7, 8, 9]]}
    found = clicks.read_clicks(request, VOLUME)
    np.testing.assert_array_equal(found.background, [[7, 8, 9], [4, 5, 6]])


def test_third_number_of_a_photographs_point_is_dropped():
    found = clicks.read_clicks({"polyp": [[5, 6, 0]]}, PHOTO)
    np.testing.assert_array_equal(found.foreground["polyp"], [[5, 6]])


@pytest.mark.parametrize(
    "request_",
    [
        {"foreground": "here"},
        {"foreground": [[1, 2]]},
        {"foreground": [[1, 2, float("nan")]]},
        {"foreground": {"x": 1}},
        {"tail": [["a", "b", "c"]]},
        {"points": [[1, 2, 3]], "point_labels": [1, 0]},
        {"points": [[1, 2, 3]], "label_prompt": [3]},
    ],
)
def test_what_is_no_list_of_points_is_refused(request_):
    with pytest.raises(HTTPException) as error:
        clicks.read_clicks(request_, VOLUME)
    assert error.value.status_code == 400


@pytest.mark.parametrize(
    ("x", "is_inside"), [(-0.4, True), (-0.6, False), (9.4, True), (9.6, False)]
)
def test_points_outside_the_image_are_refused(x, is_inside):
    marks = clicks.Clicks({"polyp": np.array([[x, 1.0]])}, np.zeros((0, 2)))
    if is_inside:
        clicks.check_inside(marks, (10, 4))
    else:
        with pytest.raises(HTTPException, match="inside the image"):
            clicks.check_inside(marks, (10, 4))


def test_points_move_with_the_voxel_map():
    flipped = np.diag([-1.0, 2.0, 1.0, 1.0])
    flipped[0, 3] = 9
    moved = clicks.to_network(np.array([[1.0, 3.0, 2.0]]), flipped, (10, 10, 10))
    np.testing.assert_array_equal(moved, [[8, 6, 2]])


def test_box_covers_both_ends_whichever_way_it_was_drawn():
    inside = clicks.box_mask((5, 2, 1, 3), IDENTITY, (10, 4))
    assert inside.sum() == 4 * 3 and inside[2:6, 1:4].all()
    assert clicks.box_mask(None, IDENTITY, (10, 4)).all()


def test_click_marks_the_part_under_it_alone():
    region, balls = clicks.region_of(two_blocks(), np.array([[1, 1]]), EVERYWHERE)
    assert balls == 0
    np.testing.assert_array_equal(region > 0.5, two_blocks() > 0.5)


def test_click_on_an_unlikely_part_takes_it_at_a_lower_threshold():
    region, balls = clicks.region_of(two_blocks(), np.array([[6, 1]]), EVERYWHERE)
    assert balls == 0 and (region[6:8] > 0.5).all() and not region[:5].any()


def test_click_where_nothing_is_seen_draws_a_ball():
    region, balls = clicks.region_of(two_blocks(), np.array([[9, 0]]), EVERYWHERE)
    assert balls == 1 and region[9, 0] == 1 and not region[:6].any()


def test_box_alone_marks_what_is_likely_inside_it():
    inside = np.zeros((10, 4), dtype=bool)
    inside[5:] = True
    region, _ = clicks.region_of(two_blocks(), np.zeros((0, 2), dtype=int), inside)
    np.testing.assert_array_equal(region > 0.5, (two_blocks() > 0.1) & inside)


def test_part_with_a_background_click_alone_goes():
    region = (two_blocks() > 0.1).astype(np.float32)
    left = clicks.without_background(region, np.array([[1, 1]]), np.array([[6, 1]]))
    assert left[1:3].all() and not left[6:].any()


def test_clicks_at_two_thresholds_mark_both_parts():
    region, balls = clicks.region_of(two_blocks(), np.array([[6, 1], [1, 1], [2, 3]]), EVERYWHERE)
    assert balls == 0
    np.testing.assert_array_equal(region > 0.5, two_blocks() > 0.1)


def test_parts_are_looked_for_once_per_threshold(monkeypatch):
    label, calls = clicks.ndimage.label, []
    counted = SimpleNamespace(label=lambda mask: calls.append(1) or label(mask))
    monkeypatch.setattr(clicks, "ndimage", counted)
    points = np.array([[1, 0], [1, 1], [2, 2], [2, 3], [6, 0], [7, 1]])
    clicks.region_of(two_blocks(), points, EVERYWHERE)
    assert len(calls) == 2


def test_many_background_clicks_split_a_part_as_every_distance_says():
    rng = np.random.default_rng(0)
    region = np.zeros((12, 11, 10), dtype=np.float32)
    region[1:11, 1:10, 1:9] = 0.9
    points = rng.integers(1, 8, (14, 3))
    inside, outside = points[:6], points[6:]
    left = clicks.without_background(region, inside, outside)
    for voxel in np.argwhere(region):
        meant = min(np.linalg.norm(voxel - point) for point in inside)
        denied = min(np.linalg.norm(voxel - point) for point in outside)
        assert (left[tuple(voxel)] > 0.5) == (denied >= meant), voxel


def test_part_with_both_clicks_is_split_by_distance():
    region = np.zeros((10, 4), dtype=np.float32)
    region[1:9] = 1
    left = clicks.without_background(region, np.array([[1, 1]]), np.array([[8, 1]]))
    assert left[1:5].all() and not left[6:].any()
