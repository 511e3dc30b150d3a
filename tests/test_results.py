"""The handlers write tables and pictures of tensors wherever these are."""

import csv
import gc
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from conceptseg.results import EvaluationReport, PredictionSummary


class OnAnotherDevice(MetaTensor):
    """A tensor that NumPy cannot read before `cpu` was called, as on a GPU."""

    def numpy(self, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __array__(self, *args, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return MetaTensor(self.as_tensor(), meta=self.meta)


def tensor(array, path, elsewhere=False) -> MetaTensor:
    """The array as the image at `path`."""
    kind = OnAnotherDevice if elsewhere else MetaTensor
    return kind(torch.as_tensor(array), meta={"filename_or_obj": str(path), "spacing_known": False})


def square(shape=(16, 16)) -> np.ndarray:
    """A label map (1, *shape) with a square of ones."""
    mask = np.zeros((1, *shape), np.float32)
    mask[:, 4:10, 4:10] = 1
    return mask


def run(handler, *outputs) -> None:
    """Run an engine with the handler over iterations of one output each."""
    engine = Engine(lambda _, output: [output])
    handler.attach(engine)
    engine.run(outputs, max_epochs=1)


def predicted(path, mask_path, elsewhere=False) -> dict:
    """Output of inference for one picture."""
    image, pred = np.full((3, 16, 16), 0.5, np.float32), square()
    pred = tensor(pred, path, elsewhere)
    pred.meta["saved_to"] = str(mask_path)
    report = {"asked": ["polyp"], "presence": [0.9], "readout": [{}], "prompts": [""]}
    report |= {"seconds": 0.1, "warnings": []}
    return {
        "image": tensor(image, path, elsewhere),
        "pred": pred,
        "report": json.dumps(report),
    }


def judged(path, elsewhere=False, shape=(16, 16), conditions=("text_free",)) -> dict:
    """Output of evaluation for one image."""
    output = {
        "image": tensor(np.full((1, *shape), 0.5, np.float32), path, elsewhere),
        "label": tensor(square(shape), path, elsewhere),
    }
    return output | {name: tensor(square(shape), path, elsewhere) for name in conditions}


def rows_of(path: Path) -> list[dict]:
    """Rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


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


def test_evaluations_on_a_gpu_get_a_table_and_a_report(tmp_path):
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    run(report, judged("in/a.png", elsewhere=True))
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert float(row["dice"]) == 1
    assert "data:image/png;base64" in (tmp_path / "report.html").read_text()


def test_cases_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = ["in/p1/T1.png", "in/p2/T1.png", "in/p2/T2.png"]
    summary = PredictionSummary(["polyp"], str(tmp_path), overlays=False)
    run(summary, *(predicted(path, tmp_path / "mask.png") for path in paths))
    assert [r["case"] for r in rows_of(tmp_path / "summary.csv")] == ["p1/T1", "p2/T1", "T2"]
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    run(report, *(judged(path) for path in paths))
    assert [r["case"] for r in rows_of(tmp_path / "metrics.csv")] == ["p1/T1", "p2/T1", "T2"]
    assert json.loads((tmp_path / "metrics.json").read_text())["text_free"]["n_cases"] == 3
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 3 and "worst: T2" in page


def test_an_evaluation_keeps_one_slice_of_every_volume(tmp_path):
    conditions, shape, count = ("text_free", "no_condition"), (48, 48, 48), 6
    report = EvaluationReport(["polyp"], str(tmp_path), conditions, "Polyps")
    engine = Engine(lambda _, number: [judged(f"in/{number}.nii.gz", False, shape, conditions)])
    report.attach(engine)
    engine.run([0], max_epochs=1)  # whatever is loaded on the way is loaded now
    tracemalloc.start()
    engine.run(range(1, 1 + count), max_epochs=1)
    engine.state.output = None
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "report.html").read_text().count("<img") == 6
    assert kept < count * np.prod(shape)  # bytes of one mask of every case


def test_metrics_are_written_before_the_report_is_drawn(tmp_path, monkeypatch):
    def failing(*_):
        raise OSError("no space left")

    monkeypatch.setattr("conceptseg.results.write_report", failing)
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    with pytest.raises(OSError, match="no space"):
        run(report, judged("in/a.png"))
    assert len(rows_of(tmp_path / "metrics.csv")) == 1
    assert (tmp_path / "metrics.json").is_file()


def test_a_second_run_starts_new_tables(tmp_path):
    summary = PredictionSummary(["polyp"], str(tmp_path), overlays=False)
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    for path in ("in/p1/T1.png", "in/p2/T1.png"):
        run(summary, predicted(path, tmp_path / "mask.png"))
        run(report, judged(path))
    for name in ("summary.csv", "metrics.csv"):
        (row,) = rows_of(tmp_path / name)
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
