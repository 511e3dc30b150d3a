"""Metrics of phantoms known by arithmetic, and tables that keep conditions apart."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from conceptseg.evaluation import CaseTable, describe, evaluate_case, split_labels


def square(start, size=6, shape=(20, 30)):
    """A square of ones with its corner at ``start``."""
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(first, first + size) for first in start)] = 1
    return mask


def one_row(pred, label, **options):
    """Metrics of a single label."""
    (row,) = evaluate_case(pred, label, ["polyp"], **options)
    return row


def test_half_of_an_object_has_dice_two_thirds_and_iou_one_half():
    label = square((2, 2), 8)
    pred = label.copy()
    pred[:, 6:] = 0
    row = one_row(pred, label)
    assert row["dice"] == pytest.approx(2 * 32 / (32 + 64))
    assert row["iou"] == pytest.approx(0.5)
    assert row["relative_volume_error"] == pytest.approx(-0.5)


def test_a_square_shifted_by_three_pixels_has_hd95_three():
    row = one_row(square((5, 8)), square((5, 5)))
    assert row["hd95_px"] == pytest.approx(3)
    assert row["dice"] == pytest.approx(0.5)
    assert row["relative_volume_error"] == 0
    assert "hd95_mm" not in row


def test_the_spacing_of_the_shifted_axis_scales_hd95():
    pred, label = square((5, 8)), square((5, 5))
    assert one_row(pred, label, spacing=(2, 0.5))["hd95_mm"] == pytest.approx(1.5)
    assert one_row(pred.T, label.T, spacing=(2, 0.5))["hd95_mm"] == pytest.approx(6)
    assert "hd95_px" not in one_row(pred, label, spacing=(1, 1))


def test_a_shifted_cube_has_hd95_of_its_axis():
    pred, label = square((2, 2, 4), 4, (10, 11, 12)), square((2, 2, 2), 4, (10, 11, 12))
    assert one_row(pred, label, spacing=(1, 1, 2.5))["hd95_mm"] == pytest.approx(5)


def test_hd95_leaves_out_the_farthest_twentieth():
    label = square((0, 0), 20, (20, 40))
    pred = label.copy()
    pred[10, 39] = 1  # one pixel 20 away: below 5 % of the surface
    assert one_row(pred, label)["hd95_px"] == pytest.approx(0)


def test_agreement_on_absence_has_dice_one_and_no_hd95():
    empty = np.zeros((4, 5), np.uint8)
    row = one_row(empty, empty)
    assert (row["dice"], row["iou"]) == (1, 1)
    assert math.isnan(row["hd95_px"])
    assert math.isnan(row["relative_volume_error"])
    assert (row["presence_true"], row["presence_pred"]) == (False, False)


def test_a_missed_object_and_a_false_alarm_have_dice_zero_and_no_hd95():
    empty, full = np.zeros((20, 30), np.uint8), square((2, 2))
    missed, invented = one_row(empty, full), one_row(full, empty)
    assert (missed["dice"], invented["dice"]) == (0, 0)
    assert math.isnan(missed["hd95_px"])
    assert missed["relative_volume_error"] == -1
    assert math.isnan(invented["relative_volume_error"])
    assert (missed["presence_true"], missed["presence_pred"]) == (True, False)
    assert (invented["presence_true"], invented["presence_pred"]) == (False, True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 4, 1), (1, 1, 1)])
def test_images_of_one_pixel_and_one_slice_are_measured(shape):
    full = np.ones(shape, np.uint8)
    row = one_row(full, full, spacing=(1.0,) * len(shape))
    assert (row["dice"], row["hd95_mm"]) == (1, 0)


def test_all_documented_forms_give_the_same_rows():
    label_map = square((2, 2)) + 2 * square((10, 20))
    pred_map = square((2, 3)) + 2 * square((10, 21))
    keywords = ["a", "b"]
    masks = np.stack([pred_map == 1, pred_map == 2])
    wanted = evaluate_case(pred_map, label_map, keywords)
    assert [row["label"] for row in wanted] == keywords
    for pred in (masks, pred_map[None], torch.from_numpy(masks), torch.from_numpy(masks).float()):
        assert evaluate_case(pred, label_map[None], keywords) == wanted
        assert evaluate_case(pred, torch.from_numpy(label_map), keywords) == wanted
    label_masks = np.stack([label_map == 1, label_map == 2])
    assert evaluate_case(masks, label_masks, keywords) == wanted


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(20, 30\), got \(30, 20\)"):
        one_row(square((2, 2)).T, square((2, 2)))


def test_probabilities_and_unknown_labels_are_refused():
    label = square((2, 2))
    with pytest.raises(ValueError, match=r"prediction, got values from 0 to 0\.5"):
        one_row(label * 0.5, label)
    with pytest.raises(ValueError, match=r"0\.\.1 in the reference"):
        one_row(label, label * 2)


def test_shapes_that_fit_nothing_are_refused():
    with pytest.raises(ValueError, match="1 or 2 channels and 2 spatial axes"):
        split_labels(np.zeros((3, 4, 5)), 2, 2)
    with pytest.raises(ValueError, match="spacings above 0"):
        one_row(square((2, 2)), square((2, 2)), spacing=(1, 0))
    with pytest.raises(ValueError, match="3 spatial axes"):
        one_row(square((2, 2)), square((2, 2)), spacing=(1, 1, 1))


def filled_table():
    """Three cases text-free, one of them empty, and one under the oracle."""
    table = CaseTable()
    empty, label = np.zeros((20, 30), np.uint8), square((5, 5))
    table.add("a", "text_free", evaluate_case(label, label, ["polyp"]))
    table.add("b", "text_free", evaluate_case(square((5, 8)), label, ["polyp"]))
    table.add("c", "text_free", evaluate_case(empty, empty, ["polyp"]))
    table.add("b", "text_guided_oracle", evaluate_case(label, label, ["polyp"]))
    return table


def test_the_summary_keeps_conditions_apart():
    summary = filled_table().summary()
    assert list(summary) == ["text_free", "text_guided_oracle"]
    dice = summary["text_free"]["labels"]["polyp"]["dice"]
    assert dice["mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert dice["sd"] == pytest.approx(np.std([1, 0.5, 1], ddof=1))
    assert (dice["median"], dice["n"]) == (1, 3)
    oracle = summary["text_guided_oracle"]["labels"]["polyp"]["dice"]
    assert (oracle["mean"], oracle["sd"], oracle["n"]) == (1, None, 1)


def test_undefined_distances_are_left_out_and_counted():
    hd95 = filled_table().summary()["text_free"]["labels"]["polyp"]["hd95_px"]
    assert hd95["n"] == 2
    assert hd95["mean"] == pytest.approx(1.5)
    assert describe([math.nan]) == {"mean": None, "sd": None, "median": None, "n": 0}


def test_presence_is_counted():
    table = CaseTable()
    empty, full = np.zeros((20, 30), np.uint8), square((2, 2))
    for case, pred, label in (("1", full, full), ("2", empty, full), ("3", full, empty)):
        table.add(case, "text_free", evaluate_case(pred, label, ["polyp"]))
    presence = table.summary()["text_free"]["labels"]["polyp"]["presence"]
    assert presence == {
        "true_positive": 1,
        "false_negative": 1,
        "false_positive": 1,
        "true_negative": 0,
        "sensitivity": 0.5,
        "specificity": 0,
    }


def test_several_labels_are_averaged_per_case():
    table = CaseTable()
    label = square((2, 2)) + 2 * square((10, 20))
    table.add("x", "text_free", evaluate_case(np.where(label == 1, 1, 0), label, ["a", "b"]))
    assert table.case_dice("text_free") == {"x": 0.5}
    summary = table.summary()["text_free"]
    assert summary["dice_over_labels"]["mean"] == 0.5
    assert summary["labels"]["a"]["dice"]["mean"] == 1
    assert summary["labels"]["b"]["dice"]["mean"] == 0


def test_the_summary_says_how_well_the_uncertainty_finds_failed_cases():
    table = filled_table()
    assert "error_detection" not in table.summary()["text_free"]
    for row in table.select("text_free"):
        row["uncertainty"] = {"a": 0.1, "b": 0.5, "c": 0.9}[row["case"]]
        row["dice"] = 0.4 if row["case"] == "b" else row["dice"]  # a and c agree
    found = table.summary()
    assert found["text_free"]["error_detection"] == {
        "dice_below": 0.5,
        "n": 3,
        "failed": 1,
        "area": 0.5,  # less certain than a, more certain than c
    }
    assert "error_detection" not in found["text_guided_oracle"]


def test_the_csv_has_a_line_per_row_and_empty_cells_for_undefined_values(tmp_path):
    table = filled_table()
    table.rows[0]["seconds"] = 0.5
    table.write_csv(tmp_path / "new" / "cases.csv")
    with open(tmp_path / "new" / "cases.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["condition"]) for row in rows][2:] == [
        ("c", "text_free"),
        ("b", "text_guided_oracle"),
    ]
    assert float(rows[1]["hd95_px"]) == pytest.approx(3)
    assert rows[2]["hd95_px"] == ""
    assert "hd95_mm" not in rows[0]
    assert [row["seconds"] for row in rows] == ["0.5", "", "", ""]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cases.csv"]


def test_the_summary_file_is_strict_json(tmp_path):
    table = CaseTable()
    empty = np.zeros((4, 5), np.uint8)
    table.add("a", "no_condition", evaluate_case(empty, empty, ["polyp"]))
    table.write_summary(tmp_path / "summary.json")

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert content["no_condition"]["labels"]["polyp"]["hd95_px"]["mean"] is None


def test_unknown_conditions_and_repeated_cases_are_refused():
    table = filled_table()
    with pytest.raises(ValueError, match="condition of text_free"):
        table.add("a", "oracle", [])
    with pytest.raises(ValueError, match="'a' under 'text_free' again"):
        table.add("a", "text_free", [])
    CaseTable(conditions=("prompted",)).add("a", "prompted", [])
