"""The matrix file: what it names, what it refuses, and the runs it stands for."""

from pathlib import Path

import pytest
import yaml

from conceptseg.benchmark.command import parse_overrides
from conceptseg.benchmark.matrix import Contestant, RunSpec, read_matrix


def write(folder: Path, **changes) -> Path:
    """A catalogue and a matrix over it."""
    catalogue = {
        "contestants": {"a": {"title": "A", "ours": True}, "b": {"learning_rates": [0.1, 0.2]}},
        "data_sets": {
            "photos": {
                "bundle": "bundle",
                "folder": "photos",
                "split": {"kind": "folds", "count": 2, "selection": 0.1},
                "images_per_step": ["batch_size"],
                "folds": [0, 1],
                "settings": {"in_channels": 3},
            }
        },
    }
    matrix = {
        "include": "catalogue.yaml",
        "contestants": ["b", "a"],
        "data_sets": {"photos": {"budgets": {"images": 100}, "settings": {"image_size": 96}}},
        "seeds": [0, 1],
        "fractions": [1.0, 0.1],
    }
    (folder / "catalogue.yaml").write_text(yaml.safe_dump(catalogue))
    (folder / "matrix.yaml").write_text(yaml.safe_dump(matrix | changes))
    return folder / "matrix.yaml"


def test_every_cell_is_one_run_with_a_name_of_its_own(tmp_path):
    runs = list(read_matrix(write(tmp_path)).runs())
    assert len(runs) == 2 * 2 * 2 * 2  # contestants, seeds, fractions, folds
    assert len({run.key for run in runs}) == len(runs)
    assert runs[0].key == "photos/b/images100_100pct_fold0_seed0"
    assert [run.contestant for run in runs[:2]] == ["b", "a"]
    assert {run.seed for run in runs[:8]} == {0}


def test_settings_of_catalogue_and_matrix_are_joined(tmp_path):
    matrix = read_matrix(write(tmp_path))
    assert matrix.data_sets["photos"].settings == {"in_channels": 3, "image_size": 96}
    assert matrix.contestants["b"].learning_rates == (0.1, 0.2)
    assert matrix.contestants["a"].ours and not matrix.contestants["b"].ours


def test_a_budget_that_a_data_set_lacks_gives_no_run(tmp_path):
    matrix = read_matrix(write(tmp_path, budgets=["cpu_seconds"]))
    assert list(matrix.runs()) == []


def test_a_part_of_the_matrix_is_chosen_by_name(tmp_path):
    part = read_matrix(write(tmp_path)).narrowed(["a"], None, seeds=[1], fractions=None)
    assert {(run.contestant, run.seed) for run in part.runs()} == {("a", 1)}
    with pytest.raises(ValueError, match="contestants out of b, a, got 'c'"):
        part_of = read_matrix(write(tmp_path))
        part_of.narrowed(["c"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contestants": ["c"]}, "contestants out of a, b, got 'c'"),
        ({"data_sets": {"scans": {}}}, "data_sets out of photos, got 'scans'"),
        ({"budgets": ["epochs"]}, "budgets out of"),
        ({"speed": 1}, r"got \['speed'\]"),
        ({"data_sets": {"photos": {"colour": 1}}}, r"'photos', got \['colour'\]"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_matrix(write(tmp_path, **changes))
    with pytest.raises(FileNotFoundError, match="no_such"):
        read_matrix(tmp_path / "no_such.yaml")


def test_conditions_and_checkpoints_are_checked():
    with pytest.raises(ValueError, match=r"conditions out of .* got \['psychic'\]"):
        Contestant("a", conditions=("psychic",), condition="psychic")
    with pytest.raises(ValueError, match="main condition"):
        Contestant("a", conditions=("text_free",), condition="roi_oracle")
    with pytest.raises(ValueError, match="checkpoint out of"):
        Contestant("a", checkpoint="first")


def test_overrides_are_read_as_yaml_and_make_a_trial():
    overrides = parse_overrides(["learning_rate=0.01", "mode_shares=[1, 0, 0, 0]", "x#y=text"])
    assert overrides == {"learning_rate": 0.01, "mode_shares": [1, 0, 0, 0], "x#y": "text"}
    trial = Contestant("ours", settings={"x#y": "old", "z": 1}).trial("fast, wide", overrides)
    assert trial.name == "ours@fast_wide"
    assert trial.settings == {**overrides, "z": 1}
    assert "/" not in RunSpec("d", trial.name, 0.1, 0, "images", 1).key.split("/", 2)[1]
    with pytest.raises(ValueError, match="ID=VALUE"):
        parse_overrides(["learning_rate"])


@pytest.mark.parametrize("name", ["cpu", "small", "gpu", "ablation"])
def test_the_shipped_matrices_can_be_read(repository, name):
    matrix = read_matrix(repository / "docs" / "benchmarks" / f"{name}.yaml")
    assert list(matrix.runs())
    assert "ours" in matrix.contestants
    for data_set in matrix.data_sets.values():
        assert (repository / "bundles" / data_set.bundle / "configs" / "train.yaml").is_file()
