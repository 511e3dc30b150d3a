"""The handler of evaluation writes tables and a report, and keeps little until then."""

import gc
import json
import tracemalloc

import numpy as np
import pytest
from handler_outputs import judged, rows_of, run
from ignite.engine import Engine

from conceptseg import results
from conceptseg.evaluation_report import EvaluationReport


def test_bundles_made_before_find_the_handler_where_it_was():
    assert results.EvaluationReport is EvaluationReport


def test_evaluations_on_a_gpu_get_a_table_and_a_report(tmp_path):
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    run(report, judged("in/a.png", elsewhere=True))
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert float(row["dice"]) == 1
    assert "data:image/png;base64" in (tmp_path / "report.html").read_text()


def test_cases_of_one_name_are_told_apart_by_their_folders(tmp_path):
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    run(report, *(judged(path) for path in ("in/p1/T1.png", "in/p2/T1.png", "in/p2/T2.png")))
    assert [r["case"] for r in rows_of(tmp_path / "metrics.csv")] == ["p1/T1", "p2/T1", "T2"]
    assert json.loads((tmp_path / "metrics.json").read_text())["text_free"]["n_cases"] == 3
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 3 and "worst: T2" in page


def test_a_second_run_starts_new_tables(tmp_path):
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    for path in ("in/p1/T1.png", "in/p2/T1.png"):
        run(report, judged(path))
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert row["case"] == "T1"


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

    monkeypatch.setattr("conceptseg.evaluation_report.write_report", failing)
    report = EvaluationReport(["polyp"], str(tmp_path), ["text_free"], "Polyps")
    with pytest.raises(OSError, match="no space"):
        run(report, judged("in/a.png"))
    assert len(rows_of(tmp_path / "metrics.csv")) == 1
    assert (tmp_path / "metrics.json").is_file()
