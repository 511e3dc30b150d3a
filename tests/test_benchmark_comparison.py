"""Comparison of contestants: bootstrap intervals known in advance, means over seeds, shares."""

import csv
import math

import numpy as np
import pytest

from conceptseg.benchmark.comparison import (
    compare_scores,
    mean_curve,
    paired_bootstrap,
    prompt_worth,
    read_groups,
)
from conceptseg.benchmark.records import RunStore
from conceptseg.benchmark.tables import contestant_table


def test_a_constant_difference_has_an_interval_without_width():
    other = np.random.default_rng(0).random((3, 40))
    found = paired_bootstrap(other + 0.1, other)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_with_one_seed_the_interval_is_that_of_the_mean():
    difference = np.random.default_rng(1).normal(0.05, 0.2, 400)
    found = paired_bootstrap(difference[None], np.zeros((1, 400)))
    error = difference.std() / math.sqrt(400)
    assert found.mean == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)


def test_pairing_removes_what_cases_have_in_common():
    random = np.random.default_rng(2)
    hard = random.random((1, 100))
    found = paired_bootstrap(hard + 0.02 + random.normal(0, 0.01, (1, 100)), hard)
    assert 0.01 < found.low < 0.02 < found.high < 0.03


def test_seeds_that_disagree_widen_the_interval():
    """Two seeds with differences -0.1 and +0.3: drawn twice alike in half of the draws."""
    ours = np.array([[-0.1] * 50, [0.3] * 50])
    found = paired_bootstrap(ours, np.zeros_like(ours))
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, -0.1, 0.3))


def test_only_common_seeds_and_cases_are_compared():
    ours = {0: {"a": 0.9, "b": 0.7}, 1: {"a": 0.1, "b": 0.1}}
    other = {0: {"b": 0.5, "c": 0.0}, 2: {"b": 1.0}}
    assert compare_scores(ours, other).mean == pytest.approx(0.2)
    assert compare_scores(ours, {3: {"a": 1.0}}) is None
    assert compare_scores(ours, {0: {"z": 1.0}}) is None
    with pytest.raises(ValueError, match="same seeds and cases"):
        paired_bootstrap(np.zeros((1, 2)), np.zeros((1, 3)))


def record(store, contestant, seed, dice, ours=False, fold=None, condition="text_free"):
    """Write one run: case -> condition -> Dice, or Dice of both labels."""
    key = f"photos/{contestant}/seed{seed}fold{fold}"
    entry = {
        "key": key,
        "status": "done",
        "data_set": "photos",
        "contestant": contestant,
        "title": contestant,
        "ours": ours,
        "condition": condition,
        "seed": seed,
        "fold": fold,
        "budget": "images",
        "amount": 10,
        "fraction": 1.0,
        "images_seen": 10,
        "parameters": 5,
        "train_seconds": 1.0,
        "curve": [{"images": 5, "seconds": 1, "dice": 0.5}],
    }
    store.write(key, entry)
    with open(store.folder(key) / "cases.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "condition", "label", "dice", "uncertainty"])
        for case, conditions in dice.items():
            for condition, values in conditions.items():
                for label, value in zip("xy", values, strict=False):
                    writer.writerow([case, condition, label, value, 1 - value])


def test_runs_are_grouped_with_folds_joined_and_the_best_baseline_found(tmp_path):
    store = RunStore(tmp_path)
    for seed in (0, 1):
        record(store, "weak", seed, {"a": {"text_free": [0.2]}, "b": {"text_free": [0.4]}})
        record(store, "strong", seed, {"a": {"text_free": [0.5]}}, fold=0)
        record(store, "strong", seed, {"b": {"text_free": [0.7]}}, fold=1)
        record(store, "ours", seed, {"a": {"text_free": [0.6]}, "b": {"text_free": [0.8]}}, True)
    store.write("photos/failed/x", {"key": "photos/failed/x", "status": "failed"})
    (group,) = read_groups(store)
    assert group.best_baseline().name == "strong"
    ours, strong = group.entries["ours"], group.entries["strong"]
    assert strong.seeds == [0, 1] and strong.mean() == pytest.approx(0.6)
    assert group.compare(ours, strong).mean == pytest.approx(0.1)
    assert strong.case_means() == pytest.approx({"a": 0.5, "b": 0.7})
    assert mean_curve(ours.records) == [(5, 0.5)]


def test_a_trial_is_compared_with_what_it_changes_and_an_oracle_is_no_baseline(tmp_path):
    store = RunStore(tmp_path)
    told = {"a": {"text_guided_oracle": [0.9]}}
    record(store, "told", 0, told, condition="text_guided_oracle")
    record(store, "ours", 0, {"a": {"text_free": [0.6]}}, True)
    record(store, "ours@started", 0, {"a": {"text_free": [0.7]}}, True)
    (group,) = read_groups(store)
    assert group.best_baseline() is None
    rows = {row[0]: row[6] for row in contestant_table(group)[1]}
    assert rows["ours"] == rows["told"] == ""
    assert rows["ours@started"] == "+0.100 [+0.100, +0.100] to ours"
    record(store, "net", 0, {"a": {"text_free": [0.5]}})
    (group,) = read_groups(store)
    rows = {row[0]: row[6] for row in contestant_table(group)[1]}
    assert rows["net"] == "best baseline" and rows["ours"].startswith("+0.100")
    assert rows["ours@started"].endswith("to ours")


def test_labels_are_averaged_within_a_case(tmp_path):
    record(RunStore(tmp_path), "net", 0, {"a": {"text_free": [0.2, 0.6]}})
    (group,) = read_groups(RunStore(tmp_path))
    assert group.entries["net"].mean() == pytest.approx(0.4)
    assert group.entries["net"].labels == ["x", "y"]


def test_shares_of_the_oracle_gain(tmp_path):
    conditions = {
        "no_condition": [0.5],
        "text_free": [0.54],
        "text_guided_location": [0.58],
        "text_guided_oracle": [0.6],
    }
    record(RunStore(tmp_path), "net", 0, {"a": conditions, "b": conditions})
    (group,) = read_groups(RunStore(tmp_path))
    worth = prompt_worth(group.entries["net"])
    assert worth == pytest.approx({"oracle": 0.1, "text_free_share": 0.4, "location_share": 0.8})


def test_a_gain_that_may_be_chance_has_no_shares(tmp_path):
    cases = {
        case: {"no_condition": [0.5], "text_free": [0.5], "text_guided_oracle": [value]}
        for case, value in {"a": 0.9, "b": 0.2, "c": 0.9, "d": 0.1}.items()
    }
    record(RunStore(tmp_path), "net", 0, cases)
    (group,) = read_groups(RunStore(tmp_path))
    assert math.isnan(prompt_worth(group.entries["net"])["text_free_share"])
