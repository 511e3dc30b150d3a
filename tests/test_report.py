"""Overlays point the right way and show both masks; the report is one safe file."""

import base64
import re

import numpy as np
import pytest
from PIL import Image, ImageColor

from conceptseg.evaluation import CaseTable, evaluate_case
from conceptseg.overlay import PALETTE, cut_overlays, overlay_image, overlay_png, png_bytes
from conceptseg.report import pick_cases, write_report

FIRST, SECOND = (ImageColor.getrgb(colour) for colour in PALETTE[:2])
LEGEND_PX = 24  # one line below the picture


def centre_of(picture, colour):
    """Relative (x, y) centre of the pixels of a colour in the picture above the legend."""
    pixels = np.asarray(picture)[:-LEGEND_PX]
    rows, columns = np.nonzero((pixels == colour).all(axis=-1))
    return columns.mean() / picture.width, rows.mean() / pixels.shape[0]


def corner_phantom(shape, corner):
    """A mask in one corner: 0 or -1 for each axis, low or high index."""
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(1, 6) if side == 0 else slice(-6, -1) for side in corner)] = 1
    return mask


def test_a_picture_is_shown_upright():
    mask = corner_phantom((40, 40), (-1, 0))  # MONAI's order: right, top
    x, y = centre_of(overlay_image(np.zeros((3, 40, 40)), mask), FIRST)
    assert x > 0.8
    assert y < 0.2


def test_a_numpy_picture_is_shown_upright_with_its_axes():
    mask = corner_phantom((40, 40), (-1, 0))  # rows, columns: bottom, left
    x, y = centre_of(overlay_image(np.zeros((1, 40, 40)), mask, axes=("bottom", "right")), FIRST)
    assert x < 0.2
    assert y > 0.8


@pytest.mark.parametrize(
    ("axes", "corner"),
    [
        (("right", "anterior", "superior"), (-1, -1, 0)),
        (("left", "posterior", "superior"), (0, 0, 0)),
        (("superior", "anterior", "right"), (0, -1, -1)),
    ],
)
def test_the_right_front_of_a_volume_is_at_the_top_left(axes, corner):
    mask = corner_phantom((40, 40, 40), corner)
    x, y = centre_of(overlay_image(np.zeros((1, 40, 40, 40)), mask, axes=axes, max_slices=1), FIRST)
    assert x < 0.2
    assert y < 0.2


def test_long_voxels_are_cut_across_and_superior_is_up():
    # Coronal slices 5 mm thick: superior right patient corner at the top left.
    mask = corner_phantom((40, 12, 40), (-1, 0, -1))
    picture = overlay_image(np.zeros((1, 40, 12, 40)), mask, spacing=(1, 5, 1), max_slices=1)
    x, y = centre_of(picture, FIRST)
    assert x < 0.2
    assert y < 0.2


def test_pixels_keep_their_proportion_in_mm():
    image, mask = np.zeros((1, 20, 20)), np.zeros((20, 20), np.uint8)
    picture = overlay_image(image, mask, spacing=(1, 3))
    assert picture.size == (171, 512 + LEGEND_PX)


def test_the_slice_with_the_largest_reference_is_shown():
    image = np.zeros((1, 20, 20, 9))
    label = np.zeros((20, 20, 9), np.uint8)
    label[8:12, 8:12, 2] = 1
    label[2:18, 2:18, 6] = 1
    pred = np.zeros_like(label)
    pred[:, :, 6] = 1
    single = overlay_image(image, pred, label, max_slices=1)
    assert centre_of(single, FIRST) == pytest.approx((0.5, 0.5), abs=0.05)
    empty = overlay_image(image, np.zeros_like(label), max_slices=1)
    assert not (np.asarray(empty)[:-LEGEND_PX] == FIRST).all(-1).any()


def test_what_was_cut_out_is_drawn_as_the_whole_volume():
    image = np.random.default_rng(0).normal(0, 1, (1, 20, 20, 9))
    label = corner_phantom((20, 20, 9), (0, 0, -1))
    preds = {"same": label, "none": np.zeros_like(label)}
    overlays = cut_overlays(image, preds, label, max_slices=1)
    for name, pred in preds.items():
        whole = np.asarray(overlay_image(image, pred, label, max_slices=1))
        assert np.array_equal(np.asarray(overlays[name].draw()), whole)
    assert [plane.title for plane in overlays["same"].planes] == ["slice 4"]


def test_a_volume_becomes_a_montage():
    mask = np.ones((20, 20, 9), np.uint8)
    montage = overlay_image(np.zeros((1, 20, 20, 9)), mask, max_slices=4)
    single = overlay_image(np.zeros((1, 20, 20, 9)), mask, max_slices=1)
    assert montage.width == 2 * 256 + 2
    assert single.width == 512


def test_agreeing_masks_stay_both_visible():
    mask = corner_phantom((30, 30), (0, 0))
    pixels = np.asarray(overlay_image(np.full((3, 30, 30), 128.0), mask, mask))[:-LEGEND_PX]
    assert (pixels == FIRST).all(-1).any()
    assert (pixels == 255).all(-1).any()
    assert (pixels == 0).all(-1).any()


def test_labels_have_their_own_colours():
    label = corner_phantom((30, 30), (0, 0)) + 2 * corner_phantom((30, 30), (-1, -1))
    picture = overlay_image(np.zeros((1, 30, 30)), label, keywords=["a", "b"])
    assert max(centre_of(picture, FIRST)) < 0.3
    assert min(centre_of(picture, SECOND)) > 0.7


def test_colour_pictures_keep_their_colours_and_grey_is_stretched():
    none = np.zeros((30, 30), np.uint8)
    red = np.zeros((3, 30, 30))
    red[0] = 200
    assert np.asarray(overlay_image(red, none))[256, 256].tolist() == [200, 0, 0]
    assert np.asarray(overlay_image(red / 255, none))[256, 256].tolist() == [200, 0, 0]
    ramp = np.linspace(-1000, 3000, 900).reshape(1, 30, 30)
    pixels = np.asarray(overlay_image(ramp, none))
    assert pixels[256, 2].max() < 10
    assert pixels[256, 509].min() > 245


def test_nan_and_constant_images_are_drawn():
    mask = np.zeros((5, 5), np.uint8)
    mask[1:3, 1:3] = 1
    for value in (np.nan, 7.0):  # black, the mask still there
        pixels = np.asarray(overlay_image(np.full((1, 5, 5), value), mask))[:-LEGEND_PX]
        assert (pixels == FIRST).all(-1).any()
        assert not pixels[-50:, -50:].any()
    half = np.linspace(0, 100, 25).reshape(1, 5, 5)
    half[0, 0, 0] = np.nan  # does not spoil what the others are shown as
    pixels = np.asarray(overlay_image(half, np.zeros_like(mask)))[:-LEGEND_PX]
    assert pixels[-5, -5].min() == 255 and 150 < pixels[5, -5].max() < 255


def test_the_smallest_images_are_drawn(tmp_path):
    one = np.ones((1, 1), np.uint8)
    overlay_png(one[None], one, tmp_path / "a.png", label=one, keywords=["a rather long keyword"])
    assert Image.open(tmp_path / "a.png").size == (512, 512 + LEGEND_PX)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert overlay_image(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1))).width == 512


def test_masks_and_axes_that_do_not_fit_are_refused():
    image, mask = np.zeros((1, 4, 5)), np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match="image's size"):
        overlay_image(image, mask.T)
    with pytest.raises(ValueError, match="image's size"):
        overlay_image(image, mask, mask.T)
    for axes in (("right", "left"), ("right",), ("right", "down"), ("right", "bottom", "superior")):
        with pytest.raises(ValueError, match="direction"):
            overlay_image(image, mask, axes=axes)
    with pytest.raises(ValueError, match="span a picture or body"):
        overlay_image(image, mask, axes=("anterior", "bottom"))
    with pytest.raises(ValueError, match="2 or 3 spatial axes"):
        overlay_image(np.zeros((4, 5)), np.zeros((5,), np.uint8))


def scored_table(scores, condition="text_free"):
    """A table with the given Dice by case."""
    table = CaseTable()
    row = {"label": "polyp", "iou": 0.5, "presence_true": True, "presence_pred": True}
    for case, dice in scores.items():
        table.add(case, condition, [{**row, "dice": dice, "hd95_px": float("nan")}])
    return table


def test_the_worst_median_and_best_case_are_picked():
    table = scored_table({"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.4, "e": 0.8})
    assert pick_cases(table, "text_free") == {"worst": "b", "median": "c", "best": "a"}
    assert pick_cases(scored_table({"a": 0.9, "b": 0.1}), "text_free") == {
        "worst": "b",
        "best": "a",
    }
    assert pick_cases(scored_table({"a": 0.9}), "text_free") == {"worst": "a"}
    assert pick_cases(table, "no_condition") == {}


def test_the_report_is_self_contained_and_complete(tmp_path):
    table = scored_table({"a": 0.25, "b": 0.5, "c": 1.0})
    asked = []

    def overlay_of(case, condition):
        asked.append((case, condition))
        return png_bytes(Image.new("RGB", (2, 2)))

    write_report(tmp_path / "report.html", table, overlay_of, "My report", {"Weights": "model.pt"})
    page = (tmp_path / "report.html").read_text()
    assert asked == [(case, "text_free") for case in "abc"]
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == page.count("<img") == 3
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG")
    assert "worst: a, Dice 0.250" in page
    assert "0.583 ± 0.382, median 0.500 (n = 3)" in page
    assert "3 of 3" in page
    assert "nan" not in page.lower()
    assert "Weights: model.pt" in page


def test_names_in_the_report_are_escaped(tmp_path):
    table = scored_table({"<b>&": 0.5})
    picture = png_bytes(Image.new("RGB", (2, 2)))
    write_report(tmp_path / "r.html", table, lambda *_: picture, "<i>", {"<u>": '"<s>"'})
    page = (tmp_path / "r.html").read_text()
    assert not re.search("<b>|<i>|<u>|<s>", page)
    assert "&lt;b&gt;&amp;" in page


def test_conditions_have_sections_of_their_own_and_the_oracle_a_warning(tmp_path):
    table = scored_table({"a": 0.25})
    table.add("a", "text_guided_oracle", scored_table({"a": 1.0}).rows)
    write_report(tmp_path / "r.html", table, lambda case, condition: None)
    page = (tmp_path / "r.html").read_text()
    free, guided = page.index("<h2>text free"), page.index("<h2>text guided oracle")
    assert free < page.index("0.250") < guided < page.index("1.000")
    assert "not a result to expect in use" in page[guided:]
    assert "<img" not in page


def test_several_labels_get_a_row_each_and_a_mean(tmp_path):
    table = CaseTable()
    label = np.array([[0, 1, 2]])
    table.add("x", "text_free", evaluate_case(np.array([[0, 1, 0]]), label, ["front", "back"]))
    write_report(tmp_path / "r.html", table)
    page = (tmp_path / "r.html").read_text()
    assert "<td>front</td>" in page
    assert "<td>mean over labels</td><td>0.500, median 0.500 (n = 1)</td>" in page


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one evaluated case"):
        write_report(tmp_path / "r.html", CaseTable())
    assert list(tmp_path.iterdir()) == []
