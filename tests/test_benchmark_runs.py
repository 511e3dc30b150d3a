"""Runs of the benchmark on phantoms: equal budgets, records, resume, failures, trials, report."""

import csv
import dataclasses
import itertools
import json

import numpy as np
import pytest
from benchmark_matrix import (
    CONDITIONS,
    SMALL_CLIPSEG,
    TINY_OURS,
    TINY_UNET,
    contestants,
    matrix,
    places,
)
from counting import CountImaged
from phantoms import write_volumes

from conceptseg.benchmark import budget, scheduler
from conceptseg.benchmark.analyses import analyse
from conceptseg.benchmark.comparison import read_groups
from conceptseg.benchmark.execution import Places, Run
from conceptseg.benchmark.matrix import Contestant, DataSet, Matrix
from conceptseg.benchmark.page import write_reports
from conceptseg.benchmark.records import RunStore
from conceptseg.benchmark.scheduler import run_missing, state_of
from conceptseg.benchmark.tuning import read_rates, tune


@pytest.fixture(scope="module")
def finished(tmp_path_factory, repository):
    """Both contestants run once: matrix, places, records by contestant."""
    where = places(tmp_path_factory.mktemp("benchmark"), repository)
    cells = matrix()
    records = run_missing(cells, where)
    return cells, where, {record["contestant"]: record for record in records}


def test_every_contestant_sees_the_same_number_of_images(finished):
    _, _, records = finished
    assert [r["status"] for r in records.values()] == ["done", "done"]
    assert {name: r["images_seen"] for name, r in records.items()} == {"unet": 24, "ours": 24}
    assert {r["steps"] for r in records.values()} == {6}
    assert all(
        r["cases"] == {"training": 6, "validation": 2, "testing": 3} for r in records.values()
    )


def test_the_recorded_count_is_that_of_the_images_loaded(tmp_path, repository):
    for fraction in (1.0, 0.5):
        settings = {**TINY_UNET, "train#random_transforms#0": {"_target_": "counting.CountImaged"}}
        counted = Contestant("unet", overlays=("baseline",), settings=settings, plain=True)
        cells = matrix(16, contestants={"unet": counted}, fractions=(fraction,))
        CountImaged.seen = 0
        (record,) = run_missing(cells, places(tmp_path, repository))
        # three cases fill no batch of four: four steps of three come nearest below
        assert CountImaged.seen == record["images_seen"] == (16 if fraction == 1 else 12)


def test_cases_are_written_under_every_condition_with_their_masks(finished):
    _, where, records = finished
    folder = RunStore(where.output_dir).folder(records["ours"]["key"])
    with open(folder / "cases.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {r["condition"] for r in rows} == set(CONDITIONS)
    assert len(rows) == 3 * len(CONDITIONS)
    assert all(r["hd95_px"] != "" or float(r["dice"]) in (0, 1) for r in rows)
    free = [r for r in rows if r["condition"] == "text_free"]
    mean = np.mean([float(r["dice"]) for r in free])
    assert records["ours"]["dice"]["text_free"] == pytest.approx(mean)
    masks = np.load(folder / "masks.npz")
    assert masks["text_free/0"].shape == (32, 32)
    assert (folder / "model.pt").exists()
    assert not (RunStore(where.output_dir).folder(records["unet"]["key"]) / "model.pt").exists()


def test_weights_to_start_from_are_the_first_point_of_the_curve(finished, tmp_path, repository):
    _, where, records = finished
    weights = RunStore(where.output_dir).folder(records["ours"]["key"]) / "model.pt"
    settings = {**TINY_OURS, "start_weights": str(weights), "start_keywords": ["polyp"]}
    started = Contestant("started", settings=settings, ours=True)
    cells = matrix(contestants={"started": started})
    (record,) = run_missing(cells, places(tmp_path, repository))
    assert record["status"] == "done", record.get("error")
    assert [point["images"] for point in record["curve"]] == [0, 12, 24]
    # the same selection cases, and the best of a run is what it kept
    assert record["curve"][0]["dice"] == pytest.approx(records["ours"]["selection_dice"])


def test_nothing_is_repeated(finished, monkeypatch):
    cells, where, _ = finished

    def refuse(*_):
        raise AssertionError("a recorded run was started again")

    monkeypatch.setattr(Run, "execute", refuse)
    assert run_missing(cells, where) == []


def test_another_recipe_makes_a_record_stale_and_a_trial_stands_beside_it(finished):
    cells, where, records = finished
    spec = next(s for s in cells.runs() if s.contestant == "ours")
    assert state_of(cells, spec, where) == "done"
    ours = cells.contestants["ours"]
    changed = dataclasses.replace(ours, settings={**ours.settings, "learning_rate": 0.01})
    other = dataclasses.replace(cells, contestants={"ours": changed})
    assert state_of(other, spec, where) == "stale"
    trial = ours.trial("faster one", {"learning_rate": 0.01})
    assert trial.name == "ours@faster_one"
    other = dataclasses.replace(cells, contestants={trial.name: trial})
    assert [state_of(other, s, where) for s in other.runs()] == ["missing"]
    assert records["ours"]["learning_rate"] == 0.002


def test_stale_runs_are_repeated_on_request_and_the_old_record_is_kept(tmp_path, repository):
    where = places(tmp_path, repository)
    cells = matrix(8, contestants={"unet": contestants()["unet"]})
    (first,) = run_missing(cells, where)
    unet = cells.contestants["unet"]
    changed = dataclasses.replace(unet, settings={**TINY_UNET, "learning_rate": 0.01})
    cells = dataclasses.replace(cells, contestants={"unet": changed})
    assert run_missing(cells, where) == []
    (second,) = run_missing(cells, where, repeat=("stale",))
    assert (first["learning_rate"], second["learning_rate"]) == (0.002, 0.01)
    old = list((where.output_dir / "superseded").glob("**/record.json"))
    assert [json.loads(p.read_text())["learning_rate"] for p in old] == [0.002]


def test_a_failure_is_recorded_and_does_not_stop_the_rest(tmp_path, repository):
    broken = Contestant(
        "broken",
        overlays=("baseline",),
        plain=True,
        settings={"baseline": {**TINY_UNET["baseline"], "in_channels": 2}},
    )
    cells = matrix(8, contestants={"broken": broken, "unet": contestants()["unet"]})
    where = places(tmp_path, repository)
    records = run_missing(cells, where)
    assert [r["status"] for r in records] == ["failed", "done"]
    assert "channels" in records[0]["error"]
    assert run_missing(cells, where) == []
    again = run_missing(cells, where, repeat=("failed",))
    assert [r["contestant"] for r in again] == ["broken"]


def test_a_run_that_another_live_process_has_is_left_out(tmp_path, repository):
    where = places(tmp_path, repository)
    cells = matrix(8, contestants={"unet": contestants()["unet"]})
    (spec,) = cells.runs()
    store = RunStore(where.output_dir)
    with store.claim(spec) as mine:
        assert mine
        assert scheduler.run_one(cells, spec, where) is None
    with store.claim(spec) as mine:  # free again, though its file is still there
        assert mine


def test_a_budget_in_seconds_is_as_many_steps_as_fit(tmp_path, repository, monkeypatch):
    clock = itertools.count(step=0.05)  # every step takes 0.05 s
    monkeypatch.setattr(budget, "train_clock", lambda device: next(clock))
    cells = matrix(contestants={"unet": contestants()["unet"]}, budgets=("cpu_seconds",))
    photos = dataclasses.replace(cells.data_sets["photos"], budgets={"cpu_seconds": 1.0})
    cells = dataclasses.replace(cells, data_sets={"photos": photos})
    (record,) = run_missing(cells, places(tmp_path, repository))
    assert record["steps"] == 20


def test_the_learning_rate_is_chosen_on_the_selection_cases(tmp_path, repository):
    where = places(tmp_path, repository)
    unet = dataclasses.replace(contestants()["unet"], learning_rates=(1e-9, 0.01))
    cells = matrix(80, contestants={"unet": unet})
    scores = tune(cells, where)["photos/unet"]
    assert set(scores) == {"1e-09", "0.01"}
    assert scores["1e-09"] != scores["0.01"]  # each was trained with its own rate
    assert read_rates(where.output_dir) == tune(cells, where)
    assert read_groups(RunStore(where.output_dir)) == []  # tuning tests nothing


@pytest.mark.parametrize("better", ["1e-09", "0.01"])
def test_a_run_has_the_rate_with_the_better_score(tmp_path, repository, better):
    where = places(tmp_path, repository)
    where.output_dir.mkdir()
    scores = {"photos/unet": {"1e-09": 0.2, "0.01": 0.2} | {better: 0.3}}
    (where.output_dir / "learning_rates.json").write_text(json.dumps(scores))
    unet = dataclasses.replace(contestants()["unet"], learning_rates=(1e-9, 0.01))
    (record,) = run_missing(matrix(8, contestants={"unet": unet}), where)
    assert record["learning_rate"] == float(better)


def test_volumes_are_tested_whole_under_every_condition(tmp_path, repository):
    write_volumes(tmp_path / "data" / "heads", 4)
    conditions = (*CONDITIONS, "text_guided_keyword", "roi_oracle")
    ours = Contestant("ours", settings=TINY_OURS, ours=True, conditions=conditions)
    network = {
        "_target_": "conceptseg.benchmark.clipseg_baseline.TextPromptedClipSeg",
        "keywords": "@keywords",
        "in_channels": 5,
        "config": SMALL_CLIPSEG,
    }
    text = {"network_def": network, "mode_shares": [0, 1, 0, 0]}
    clipseg = Contestant("clipseg", "CLIPSeg", ("baseline",), text, conditions=CONDITIONS)
    heads = DataSet(
        "heads",
        "hippocampus_mr_segmentation",
        "heads",
        {"kind": "folds", "count": 2, "selection": 0.5},
        ("batch_volumes", "slices_per_volume"),
        {"images": 4},
        validations=1,
        folds=(1,),
        settings={"slice_axes": [2], "batch_volumes": 1, "slices_per_volume": 4, "device": "cpu"},
    )
    cells = Matrix({"clipseg": clipseg, "ours": ours}, {"heads": heads})
    where = Places(tmp_path / "data", repository / "bundles", tmp_path / "output")
    records = run_missing(cells, where)
    assert [r.get("error") for r in records] == [None, None]
    assert [r["images_seen"] for r in records] == [4, 4]
    folder = RunStore(where.output_dir).folder(records[1]["key"])
    with open(folder / "cases.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {r["condition"] for r in rows} == set(conditions)
    assert len(rows) == 2 * 2 * len(conditions)  # cases, labels
    assert "hd95_mm" in rows[0]
    assert np.load(folder / "masks.npz")["text_free/case_0"].ndim == 3


def test_the_report_holds_tables_curves_and_pictures(finished):
    cells, where, _ = finished
    analyse(cells, where)
    write_reports(cells, where)
    page = (where.output_dir / "report.html").read_text()
    assert page.count("<svg") >= 2 and "data:image/png;base64," in page
    assert "http" not in page and "<script" not in page
    text = (where.output_dir / "report.md").read_text()
    assert "| UNet |" in text and "best baseline" in text
    assert "text guided oracle" in text and "misspelt" in text
