"""Weights that do not fit or are missing, and what is forgotten when new ones come."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lib.model import ServedModel, load_all


def made(folder: Path, name: str) -> ServedModel:
    """A model of a bundle with one layer of two weights."""
    bundle = SimpleNamespace(
        path=folder / name,
        name=name,
        build_inferer=lambda: None,
        build_transforms=lambda: (None, None, None),
        build_network=lambda: torch.nn.Linear(1, 2),
    )
    return ServedModel(bundle, folder / "weights" / name)


def write(model: ServedModel, outputs: int, seconds: int = 1) -> None:
    """Write weights with so many outputs, at a time of its own."""
    path = model.weights_dir / "model.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.nn.Linear(1, outputs).state_dict(), path)
    os.utime(path, (seconds, seconds))


def test_unfitting_weights_of_one_bundle_leave_the_others_served(tmp_path, caplog):
    served = {name: made(tmp_path, name) for name in ("broken", "new", "good")}
    write(served["broken"], 3)
    write(served["good"], 2)
    load_all(served)
    assert served["good"]._current is not None and served["broken"]._current is None
    told = " ".join(record.getMessage() for record in caplog.records)
    assert str(served["broken"].weights) in told and "'new' has no weights yet" in told
    with pytest.raises(ValueError, match="train again"):
        served["broken"].network()


def test_weights_trained_in_the_place_of_unfitting_ones_are_served(tmp_path):
    model = made(tmp_path, "b")
    write(model, 3)
    load_all({"b": model})
    write(model, 2, seconds=2)
    version, network = model.network()
    assert network.weight.shape == (2, 1) and version == model.version()
