"""The handler of inference writes tables and pictures of tensors wherever these are."""

import numpy as np
import pytest
import torch
from handler_outputs import predicted, rows_of, run, square, tensor

from conceptseg.results import PredictionSummary

PATHS = ["in/p1/T1.png", "in/p2/T1.png", "in/p2/T2.png"]


def test_the_stand_in_for_a_gpu_refuses_numpy():
    there = tensor(square(), "a.png", elsewhere=True)
    for convert in (np.asarray, lambda t: t[0].numpy()):
        with pytest.raises(TypeError, match="cuda"):
            convert(there)
    assert np.array_equal(there.cpu().numpy(), square())


def test_predictions_on_a_gpu_get_a_table_and_an_overlay(tmp_path):
    output = predicted("in/a.png", tmp_path / "a_seg.png", elsewhere=True)
    run(PredictionSummary(["polyp"], str(tmp_path)), output)
    (row,) = rows_of(tmp_path / "summary.csv")
    assert row["area_px"] == "36"
    assert (tmp_path / "a_seg_overlay.png").is_file()


def test_cases_of_one_name_are_told_apart_by_their_folders(tmp_path):
    summary = PredictionSummary(["polyp"], str(tmp_path), overlays=False)
    run(summary, *(predicted(path, tmp_path / "mask.png") for path in PATHS))
    assert [r["case"] for r in rows_of(tmp_path / "summary.csv")] == ["p1/T1", "p2/T1", "T2"]


def test_a_second_run_starts_a_new_table(tmp_path):
    summary = PredictionSummary(["polyp"], str(tmp_path), overlays=False)
    for path in PATHS[:2]:
        run(summary, predicted(path, tmp_path / "mask.png"))
    (row,) = rows_of(tmp_path / "summary.csv")
    assert row["case"] == "T1"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_is_no_obstacle(tmp_path):
    output = predicted("in/a.png", tmp_path / "a_seg.png")
    run(
        PredictionSummary(["polyp"], str(tmp_path)),
        {key: value.cuda() if torch.is_tensor(value) else value for key, value in output.items()},
    )
    assert (tmp_path / "a_seg_overlay.png").is_file()
