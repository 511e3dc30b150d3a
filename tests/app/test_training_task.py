"""Training from saved labels inside this process: what becomes of unfitting weights, and the statistics."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lib.bundle import Bundle
from lib.model import ServedModel, file_version
from lib.store import StudiesFolder
from lib.train import TrainingTask
from PIL import Image
from small_bundles import small_bundle

NAME = "polyp_endoscopy_segmentation"
EPOCHS = 1


@pytest.fixture
def task(repository, tmp_path) -> TrainingTask:
    """The training task of a small bundle that has no weights yet."""
    bundle = small_bundle(
        repository / "bundles" / NAME, tmp_path / NAME, {"image_size": 64, "batch_size": 2}
    )
    return TrainingTask(ServedModel(Bundle(bundle), tmp_path / "weights"))


@pytest.fixture
def studies(photos, tmp_path) -> StudiesFolder:
    """A folder of three photographs with final labels."""
    folder = tmp_path / "studies"
    folder.mkdir()
    masks = {}
    for seed in range(3):
        image, masks[f"case_{seed}"] = photos(seed)
        Image.fromarray(image).save(folder / f"case_{seed}.png")
    store = StudiesFolder(str(folder), extensions=["*.png"])
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        store.save_label(name, str(tmp_path / f"{name}.png"), "final", {})
    return store


def put_weights_of_another_network(task: TrainingTask) -> Path:
    """Weights that a bundle with other layers left behind."""
    path = task.model.weights_dir / "model.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    return path


def test_statistics_of_the_run_before_end_when_a_new_one_starts(task, studies, monkeypatch):
    task.stats_file.parent.mkdir(parents=True)
    task.stats_file.write_text(json.dumps({"epoch": 30, "total_epochs": 30, "total_time": 9.0}))
    shown = []

    def check(request, datastore):
        shown.append(json.loads(task.stats_file.read_text()))
        raise RuntimeError("that is enough")

    monkeypatch.setattr(task, "check", check)
    with pytest.raises(RuntimeError, match="enough"):
        task({"max_epochs": 7}, studies)
    (stats,) = shown
    assert (stats["epoch"], stats["total_epochs"]) == (0, 7) and "total_time" not in stats
    assert task.stats()["stopped"]


@pytest.mark.parametrize("pretrained", [True, False])
def test_training_replaces_weights_that_do_not_fit_and_keeps_their_file(
    task, studies, caplog, pretrained
):
    path = put_weights_of_another_network(task)
    unfitting = path.read_bytes()
    stats = task({"max_epochs": EPOCHS, "pretrained": pretrained}, studies)
    assert stats["published"] and stats["metric_before"] is None
    assert any(str(path) in r.getMessage() and r.levelname == "WARNING" for r in caplog.records)
    (kept,) = (path.parent / "history").iterdir()
    assert kept.read_bytes() == unfitting
    version = task.model.version()  # what was trained can be served
    found = json.loads(task.stats_file.read_text())
    assert found["published"] and found["version"] == version


def test_statistics_name_the_version_before_it_is_served_and_only_then(task, monkeypatch, tmp_path):
    new, keeper = tmp_path / "model.pt", SimpleNamespace(state={"best_metric": 0.7})
    new.write_bytes(b"weights")
    seen, replace = [], os.replace

    def noted(source, target):
        if str(target) == str(task.model.weights_dir / "model.pt"):
            seen.append(json.loads(task.stats_file.read_text())["version"])
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    worse, better = {"epoch": 1}, {"epoch": 1}
    assert not task._publish(new, keeper, 0.8, worse) and "version" not in worse
    assert task._publish(new, keeper, 0.6, better)
    assert seen == [better["version"]] == [file_version(task.model.weights)]
