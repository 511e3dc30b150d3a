"""Simulated rounds on phantoms: resuming, the record, the page and the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
from phantoms import write_photos, write_volumes

from conceptseg.active_learning.curves import write_curves_page
from conceptseg.active_learning.round_summary import summary_of
from conceptseg.active_learning.round_training import RoundTrainer
from conceptseg.active_learning.rounds import pool_and_test, run_simulation
from conceptseg.active_learning.simulation import FULL, START, budget_counts
from conceptseg.active_learning.statistics import (
    area,
    ceiling_curves,
    compare,
    compare_together,
    full_data_dice,
    read_curves,
    share_needed,
)

TINY = {
    "image_size": 32,
    "batch_size": 2,
    "network_def#backbone#feature_channels": [6, 8, 12],
    "network_def#decoder#feature_channels": [6, 8, 12],
}
STRATEGIES = ["random", "concept_coverage", "concept_disagreement"]


def settings(**changes) -> dict:
    """Settings of a simulation of seconds."""
    base = {"start": 0.2, "budget": 0.7, "batch": None, "iterations": 2, "candidates": None}
    return {**base, "test_fraction": 0.25, "short": True, "overrides": TINY, **changes}


@pytest.fixture(scope="module")
def bundle(repository):
    """The bundle for photographs."""
    return repository / "bundles" / "polyp_endoscopy_segmentation"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve photographs."""
    return write_photos(tmp_path_factory.mktemp("pool"), 12)


@pytest.fixture(scope="module")
def finished(bundle, data, tmp_path_factory):
    """Folder and rows of a simulation that ran through."""
    output = tmp_path_factory.mktemp("finished")
    run_simulation(bundle, data, output, STRATEGIES, [0], settings())
    return output, [json.loads(line) for line in (output / "rounds.jsonl").read_text().splitlines()]


def test_budgets_double_or_grow_by_a_batch():
    assert budget_counts(800, 0.025, 0.4, None) == [20, 40, 80, 160, 320]
    assert budget_counts(100, 0.1, 0.35, 10) == [10, 20, 30, 35]
    assert budget_counts(30, 0.025, 0.4, None)[0] == 2  # one case cannot be trained on
    with pytest.raises(ValueError, match="start below the budget"):
        budget_counts(100, 0.4, 0.4, None)


def test_the_record_says_what_was_picked_and_why(finished):
    _, rows = finished
    assert [(r["strategy"], r["round"], r["labelled"]) for r in rows] == [
        (START, 0, 2), ("random", 1, 4), ("random", 2, 6),
        ("concept_coverage", 1, 4), ("concept_coverage", 2, 6),
        ("concept_disagreement", 1, 4), ("concept_disagreement", 2, 6), (FULL, 0, 9),
    ]  # fmt: skip
    for name in STRATEGIES:
        run = [rows[0], *(r for r in rows if r["strategy"] == name)]
        picked = [p["name"] for r in run for p in r["picked"]]
        assert len(set(picked)) == len(picked) == 6
        assert all(p["reason"] for r in run for p in r["picked"])
        assert [r["foreground_annotated"] for r in run] == sorted(
            r["foreground_annotated"] for r in run
        )
    for row in rows:
        assert row["worst_label"] == "polyp" and 0 <= row["dice"]["polyp"] <= 1
        assert "polyp" in row["hd95_px"] and len(row["case_dice"]) == 3
        assert row["strategy"] == FULL or len(row["checkpoint"]) == 64
    assert len(rows[-1]["case_dice_by_round"]) == 3  # of all labels, after every round
    assert rows[-1]["case_dice_by_round"][-1] == rows[-1]["case_dice"]
    test_names = set(rows[0]["case_dice"])
    assert not test_names & {p["name"] for r in rows for p in r["picked"]}


def test_a_killed_simulation_goes_on_with_the_round_it_was_in(
    bundle, data, finished, tmp_path, monkeypatch
):
    calls, train = [], RoundTrainer.train

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    monkeypatch.setattr(RoundTrainer, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        run_simulation(bundle, data, tmp_path, STRATEGIES, [0], settings())
    assert len((tmp_path / "rounds.jsonl").read_text().splitlines()) == 4
    run_simulation(bundle, data, tmp_path, STRATEGIES, [0], settings())
    rows = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    for row, whole in zip(rows, finished[1], strict=True):
        for key in ("strategy", "round", "picked", "foreground_annotated"):
            assert row.get(key) == whole.get(key)
        assert row["mean_dice"] == pytest.approx(whole["mean_dice"], abs=1e-3)
    run_simulation(bundle, data, tmp_path, [*STRATEGIES, "typical"], [0], settings())
    added = (tmp_path / "rounds.jsonl").read_text().splitlines()[len(rows) :]
    assert [json.loads(line)["strategy"] for line in added] == ["typical", "typical"]


def test_other_settings_are_refused(bundle, data, finished):
    with pytest.raises(ValueError, match="another iterations"):
        run_simulation(bundle, data, finished[0], STRATEGIES, [0], settings(iterations=3))


def test_nothing_is_claimed_with_one_seed(finished):
    page = write_curves_page(finished[0]).read_text()
    assert "nothing can be said yet" in page and "<svg" in page and "<script" not in page
    assert "better than random<" not in page
    assert "<td>all labels" in page and "the room that a better choice has in rounds" in page


def test_candidates_limit_what_is_scored(bundle, data, tmp_path, monkeypatch):
    from conceptseg.active_learning.scoring import CaseScorer

    scored, score = [], CaseScorer.score
    monkeypatch.setattr(
        CaseScorer,
        "score",
        lambda self, name, image: scored.append(name) or score(self, name, image),
    )
    run_simulation(
        bundle, data, tmp_path, ["clasp_entropy"], [0], settings(budget=0.5, candidates=3)
    )
    assert len(scored) == 3 + 2  # three candidates and the two annotated


def test_volumes_are_simulated_with_their_spacing(repository, tmp_path):
    write_volumes(tmp_path / "data", 6)
    bundle = repository / "bundles" / "hippocampus_mr_segmentation"
    tiny = {
        "slice_size": 16,
        "network_def#backbone#feature_channels": [6, 8],
        "network_def#decoder#feature_channels": [6, 8],
    }
    output = tmp_path / "out"
    options = settings(start=0.4, budget=0.8, overrides=tiny, iterations=1)
    run_simulation(bundle, tmp_path / "data", output, ["concept_coverage"], [0], options)
    rows = [json.loads(line) for line in (output / "rounds.jsonl").read_text().splitlines()]
    assert set(rows[1]["dice"]) == {"anterior hippocampus", "posterior hippocampus"}
    assert "hd95_mm" in rows[1] and rows[1]["labelled"] == 3
    assert (
        "hippocampus" in rows[1]["picked"][0]["reason"] or "read" in rows[1]["picked"][0]["reason"]
    )


def test_test_part_of_the_data_set_is_used(tmp_path):
    for part in ("train", "validation"):
        write_photos(tmp_path / part, 3)
    pool, test = pool_and_test(tmp_path, tmp_path / "split.json", 0.5)
    assert len(pool) == 3 and all("validation" in case["image"] for case in test)


def test_real_photographs_are_decoded_and_judged(bundle, shared_data, tmp_path):
    pool, test = pool_and_test(shared_data / "kvasir", tmp_path / "split.json", 0.2)
    assert (len(pool), len(test)) == (800, 100)
    trainer = RoundTrainer(bundle, 2, True, TINY)
    cases = trainer.decode(pool[:3])
    assert cases[0]["image"].shape == (3, 32, 32) and float(cases[0]["image"].max()) <= 1
    rows = trainer.test(trainer.train(cases, 0), trainer.decode(test[:2]))
    assert len(rows) == 2 and all(0 <= row["dice"] <= 1 for row in rows)


def test_the_command_line_names_a_wrong_option(repository, data, tmp_path):
    command = [sys.executable, str(repository / "scripts" / "active_learning.py")]
    done = subprocess.run(
        [*command, str(tmp_path / "no_bundle"), str(data), str(tmp_path / "out"), "--short"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "choose another bundle" in done.stderr


def made_rows(levels: dict[str, list[float]], seeds=(0, 1, 2), noise=0.0) -> list[dict]:
    """Rows of invented curves at budgets of 10, 20 and 40 %, 20 test cases."""
    rng, rows = np.random.default_rng(0), []
    for seed in seeds:
        offset = rng.normal(0, 0.05, 20)  # cases differ, the same for every strategy
        for name, dice in levels.items():
            for number, value in enumerate(dice):
                cases = value + offset + rng.normal(0, noise, 20)
                first = number == 0 and name != FULL
                rows.append(
                    {
                        "seed": seed, "strategy": START if first else name, "round": number,
                        "share": 0.1 * 2**number,
                        "case_dice": {f"c{i}": float(x) for i, x in enumerate(cases)},
                        "mean_dice": float(cases.mean()),
                    }
                )  # fmt: skip
    return rows


def test_area_is_the_mean_dice_over_doublings():
    curves = read_curves(made_rows({"random": [0.2, 0.4, 0.8]}, seeds=[0]))
    curve = curves["random"][0]
    offset = curve.case_dice[0].mean() - 0.2
    assert area(curve) - offset == pytest.approx((0.3 + 0.6) / 2)  # two trapezoids of one doubling


def test_paired_interval_finds_a_small_steady_gain_and_refuses_none():
    levels = {"random": [0.5, 0.6, 0.7], "better": [0.5, 0.62, 0.72], "same": [0.5, 0.6, 0.7]}
    curves = read_curves(made_rows(levels, noise=0.01))
    gain = compare(curves["better"], curves["random"])
    assert gain.difference == pytest.approx(0.015, abs=0.004) and gain.low > 0
    assert gain.verdict("random") == "better than random"
    assert compare(curves["same"], curves["random"]).verdict("random") == "not better than random"
    assert "worse" in compare(curves["random"], curves["better"]).verdict("better")
    assert compare(curves["better"], {}) is None


def test_data_sets_count_the_same_together_and_are_surer_than_one():
    noise = 0.04
    few = made_rows({"random": [0.5, 0.6, 0.7], "better": [0.5, 0.6, 0.7]}, (0, 1, 2), noise)
    many = made_rows({"random": [0.5, 0.6, 0.7], "better": [0.5, 0.64, 0.74]}, range(6), noise)
    sides = [(c["better"], c["random"]) for c in (read_curves(few), read_curves(many))]
    alone = [compare(*side) for side in sides]
    found = compare_together(sides)
    assert found.difference == pytest.approx(np.mean([one.difference for one in alone]))
    assert found.seeds == 3
    assert found.high - found.low < np.mean([one.high - one.low for one in alone])
    assert compare_together(sides[:1]) == alone[0]
    assert compare_together([*sides, (sides[0][0], {})]) is None and compare_together([]) is None


def test_several_data_sets_make_one_table(tmp_path, repository):
    levels = {"random": [0.5, 0.6, 0.7], "typical": [0.5, 0.62, 0.72], FULL: [0.7]}
    for folder in ("eyes", "skin"):
        (tmp_path / folder).mkdir()
        rows = made_rows(levels, seeds=(0, 1, 2))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / folder / "rounds.jsonl").write_text(text)
    command = [sys.executable, repository / "scripts" / "compare_rounds.py"]
    done = subprocess.run(
        [*command, tmp_path / "eyes", tmp_path / "skin"], capture_output=True, text=True, check=True
    )
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in done.stdout.splitlines()
    ]
    rows = [[*line[:3], line[4]] for line in lines[2:]]
    assert rows == [
        ["eyes", "random", "3", "-"],
        ["eyes", "typical", "3", "+1.5 (1.5, 1.5)"],
        ["skin", "random", "3", "-"],
        ["skin", "typical", "3", "+1.5 (1.5, 1.5)"],
        ["all together", "random", "3", "-"],
        ["all together", "typical", "3", "+1.5 (1.5, 1.5)"],
    ]
    missing = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True)
    assert missing.returncode == 1 and "run the simulation first" in missing.stderr


def test_unfinished_runs_do_not_count():
    rows = made_rows({"random": [0.5, 0.6, 0.7]}, seeds=[0, 1])
    assert list(read_curves(rows[:-1])["random"]) == [0]


def test_share_needed_is_interpolated_over_the_logarithm():
    rows = made_rows({"random": [0.2, 0.4, 0.8], FULL: [0.8 / 0.95 * 0.75]}, seeds=[0])
    curves, full = read_curves(rows), full_data_dice(rows)
    offset = curves["random"][0].case_dice[0].mean() - 0.2
    target = 0.95 * (full[0]) - offset
    expected = 0.2 * 2 ** ((target - 0.4) / 0.4)
    assert share_needed(curves["random"], full) == pytest.approx(expected, rel=1e-6)
    assert share_needed(curves["random"], {0: 2.0}) is None


def test_rounds_on_all_labels_show_the_room_for_a_choice():
    rows = made_rows({"random": [0.5, 0.6, 0.7], FULL: [0.9]}, seeds=[0, 1, 2])
    assert ceiling_curves(rows) == {}  # judged after the last round alone, as older records are
    for row in rows:
        if row["strategy"] == FULL:
            cases = row["case_dice"]
            levels = (0.66, 0.8, 0.9)  # not the first: round 0 is the shared first batch
            row["case_dice_by_round"] = [{c: cases[c] - 0.9 + v for c in cases} for v in levels]
    ceiling = ceiling_curves(rows)
    found = compare(ceiling, read_curves(rows)["random"])
    # 0, 0.2, 0.2 above chance: two trapezoids
    assert found.difference == pytest.approx((0.1 + 0.2) / 2) and found.seeds == 3


def test_summary_leaves_undefined_distances_out():
    rows = [
        {"case": "a", "label": "x", "dice": 1.0, "hd95_px": 2.0},
        {"case": "b", "label": "x", "dice": 0.0, "hd95_px": float("nan")},
    ]
    found = summary_of(rows, ["x"])
    assert found["hd95_px"] == {"x": 2.0} and found["mean_dice"] == 0.5
    assert found["case_dice"] == {"a": 1.0, "b": 0.0}
