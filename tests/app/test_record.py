"""What the desk writes into the record: every saved label, and the validation Dice of the served weights."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from lib.desk import Desk


@pytest.fixture
def desk(tmp_path) -> Desk:
    """A desk of one bundle without weights."""
    bundle = SimpleNamespace(name="fish", keywords=("head",), labels={"head": 1}, dimension=3)
    inferer = SimpleNamespace(slice_axes=(2,))
    model = SimpleNamespace(bundle=bundle, inferer=inferer, weights_dir=tmp_path / "weights")
    model.weights_dir.mkdir()
    return Desk({"fish": model}, tmp_path / "rounds")


@pytest.fixture
def studies(tmp_path) -> SimpleNamespace:
    """A datastore of one volume and its final label, with `info`."""
    path = str(tmp_path / "case_0.nii.gz")
    nib.save(nib.Nifti1Image(np.eye(4, dtype=np.uint8)[..., None], np.eye(4)), path)
    made = SimpleNamespace(info={}, update_label_info=lambda *arguments: None)
    made.get_label_info = lambda image, tag: made.info
    made.get_label_uri = lambda image, tag: path
    made.get_image_uri = lambda image: path
    return made


def test_labels_saved_within_one_second_are_both_recorded(desk, studies):
    for nanoseconds in (1_700_000_000_100_000_001, 1_700_000_000_900_000_002):
        studies.info = {"ts": 1_700_000_000, "saved_ns": nanoseconds}
        assert desk.label_saved("case_0", studies)["concepts"]
        assert desk.label_saved("case_0", studies) == {}  # that label is in the record
    saved = [e["label_saved_ns"] for e in desk.journal.read() if e["event"] == "saved"]
    assert saved == [1_700_000_000_100_000_001, 1_700_000_000_900_000_002]


def test_labels_of_an_older_version_go_by_their_second(desk, studies):
    studies.info = {"ts": 7}
    assert desk.label_saved("case_0", studies)["concepts"]
    assert desk.label_saved("case_0", studies) == {}
    studies.info = {"ts": 8}
    assert desk.label_saved("case_0", studies)["concepts"]
    studies.info = {"ts": 8, "saved_ns": 8_000_000_000}  # saved again, by the server of now
    assert desk.label_saved("case_0", studies)["concepts"]


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({"best_metric": 0.8, "version": "v2"}, 0.8),
        ({"best_metric": 0.8, "version": "v1"}, None),  # other weights were put in place by hand
        ({"best_metric": 0.8}, None),  # a run that was not published
        ({"best_metric": 0.0, "epoch": 0}, None),  # a run that has just begun
        (None, None),
    ],
)
def test_only_the_dice_of_the_weights_themselves_is_recorded(desk, stats, expected):
    if stats is not None:
        (desk.served["fish"].weights_dir / "train_stats.json").write_text(json.dumps(stats))
    desk._note_version("fish", "v2")
    (event,) = desk.journal.read()
    assert event["version"] == "v2" and event["validation_dice"] == expected
