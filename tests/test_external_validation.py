"""A bundle is judged on a test set of one's own: nothing is drawn, split or written there."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, run
from phantoms import write_photos

NAME = "polyp_endoscopy_segmentation"
SMALL = {
    "network_def#backbone#feature_channels": [4, 8, 8, 8],
    "network_def#decoder#feature_channels": [4, 8, 8, 8],
    "image_size": 64,
    "cache_rate": 0,
}


@pytest.fixture
def bundle(repository, tmp_path) -> Path:
    """A copy of the bundle with random weights of a small network."""
    target = tmp_path / NAME
    ignored = shutil.ignore_patterns("models", "eval", "train_output")
    shutil.copytree(repository / "bundles" / NAME, target, ignore=ignored)
    parser = ConfigParser()
    parser.read_config(str(target / "configs" / "train.yaml"))
    parser.update(SMALL)
    (target / "models").mkdir()
    state = parser.get_parsed_content("network_def").state_dict()
    torch.save(state, target / "models" / "model.pt")
    return target


def run_bundle(bundle: Path, data: Path, *configs: str, **more) -> None:
    """`monai.bundle run` in this process."""
    run(
        config_file=[str(bundle / "configs" / name) for name in configs],
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(data),
        **SMALL,
        **more,
    )


def judged(bundle: Path) -> set[str]:
    """Names of the cases in the table of an evaluation."""
    with (bundle / "eval" / "metrics.csv").open() as file:
        return {row["case"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("layout", ["test set", "plain folder"])
def test_every_case_of_an_own_test_set_is_judged(bundle, tmp_path, layout):
    data = tmp_path / "data"
    write_photos(data / "test" if layout == "test set" else data, 5)
    there = sorted(tmp_path.rglob("*"))
    more = {} if layout == "test set" else {"section": "all"}
    run_bundle(bundle, data, "train.yaml", "evaluate.yaml", **more)
    assert judged(bundle) == {"0", "1", "2", "3", "4"}
    new = [path for path in sorted(tmp_path.rglob("*")) if path not in there]
    names = ["eval", "metrics.csv", "metrics.json", "report.html"]
    assert [path.name for path in new] == names


def test_training_on_test_cases_alone_is_refused(bundle, tmp_path):
    data = write_photos(tmp_path / "data" / "test", 3).parent
    with pytest.raises(RuntimeError) as raised:
        run_bundle(bundle, data, "train.yaml", max_epochs=1)
    cause = raised.value.__cause__
    assert isinstance(cause, ValueError)
    assert "0 to train on and 3 to test on" in str(cause) and "can be judged only" in str(cause)
    assert not (bundle / "train_output" / "split.json").exists()
