"""Weights that do not fit or are missing, and what is forgotten when new ones come."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lib.model import ServedModel, file_version, load_all
from lib.retries import Retries


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


@pytest.fixture
def encoding(tmp_path, monkeypatch):
    """A model whose cases hold nothing but their network, and an image file."""
    model, image = made(tmp_path, "b"), tmp_path / "a.png"
    image.touch()
    write(model, 2)
    model.cases.nbytes = None

    def encode(path, version, network):
        return SimpleNamespace(network=network, version=version)

    monkeypatch.setattr(model, "_encode", encode)
    return model, str(image)


def test_cases_of_weights_that_are_replaced_are_forgotten(encoding):
    model, image = encoding
    model.case(image)
    assert len(model.cases) == 1 and model.case(image)[1]
    write(model, 2, seconds=2)
    model.network()
    assert len(model.cases) == 0
    case, cached = model.case(image)
    assert not cached and case.version == model.version()


def test_a_case_encoded_while_new_weights_come_is_not_kept(encoding, monkeypatch):
    model, image = encoding
    encode = model._encode

    def slow(path, version, network):
        write(model, 2, seconds=2)
        model.network()  # as another request does
        return encode(path, version, network)

    monkeypatch.setattr(model, "_encode", slow)
    before = model.version()
    assert model.case(image)[0].version == before != model.version()
    assert len(model.cases) == 0


def test_cases_stay_while_a_damaged_file_is_refused(encoding):
    model, image = encoding
    model.case(image)
    write(model, 3, seconds=2)
    assert model.case(image)[1] and len(model.cases) == 1


@pytest.fixture
def loads(monkeypatch) -> list:
    """Weights files that are loaded, one entry each time."""
    found, read = [], ServedModel.read_weights

    def counted(model):
        found.append(file_version(model.weights))
        return read(model)

    monkeypatch.setattr(ServedModel, "read_weights", counted)
    return found


def test_unusable_weights_are_loaded_once_while_older_ones_answer(encoding, loads, caplog):
    model, image = encoding
    before = model.version()
    write(model, 3, seconds=2)
    for _ in range(3):
        assert model.network()[0] == model.version() == model.case(image)[0].version == before
    assert loads == [before, file_version(model.weights)] and before != loads[1]
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    write(model, 2, seconds=3)
    assert model.version() == file_version(model.weights) != before


def test_unusable_weights_without_older_ones_are_loaded_once(tmp_path, loads):
    model = made(tmp_path, "b")
    write(model, 3)
    for _ in range(3):
        with pytest.raises(ValueError, match="Expected weights that fit 'b'"):
            model.network()
    assert len(loads) == 1


def test_weights_that_could_not_be_read_are_tried_again_after_a_pause(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    model = made(tmp_path, "b")
    model._retries = Retries(lambda: clock.now)
    write(model, 2)
    with monkeypatch.context() as patch:
        patch.setattr("lib.model.read_state", lambda file: 1 / 0)  # as where memory is short
        with pytest.raises(ValueError, match="Expected weights that fit"):
            model.network()
    clock.now += 59
    with pytest.raises(ValueError, match="Expected weights that fit"):
        model.network()
    clock.now += 2
    assert model.version() == file_version(model.weights)


def test_only_a_fault_of_the_file_makes_an_image_unusable(tmp_path):
    model, image = made(tmp_path, "b"), tmp_path / "a.png"
    image.touch()
    write(model, 2)

    def fails(error: Exception):
        def transform(data):
            raise RuntimeError("applying transform") from error

        return transform

    for error, kind in (
        (ValueError("Expected a volume"), ValueError),
        (FileNotFoundError("a folder without any DICOM file"), FileNotFoundError),
        (MemoryError("no memory"), RuntimeError),
    ):
        model.before = fails(error)
        with pytest.raises(kind, match=str(error)):
            model.case(str(image))
