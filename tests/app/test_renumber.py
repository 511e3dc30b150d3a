"""Saved labels count by the names of their segments, in whatever order a client numbered them."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from lib.renumber import is_foreign, own_values, renumbered, write_renumbered
from PIL import Image

FISH = SimpleNamespace(labels={"head": 1, "tail": 2})


@pytest.mark.parametrize(
    ("info", "mapping"),
    [
        ([{"name": "head", "idx": 1}, {"name": "tail", "idx": 2}], {}),
        ([{"name": "tail", "idx": 1}], {1: 2}),  # the other segment was deleted
        ([{"name": "Tail "}, {"name": "HEAD"}], {1: 2, 2: 1}),
        ([{"name": "polyp", "idx": 1}, {"name": "head", "idx": 2}], {1: 0, 2: 1}),
        ([{"name": "Segment_1", "idx": 1}], {}),  # no name is known: the values count
        ([], {}),
        (None, {}),
    ],
)
def test_names_decide_over_numbers(info, mapping):
    assert own_values(info, FISH) == mapping


@pytest.mark.parametrize(
    ("names", "foreign"),
    [(["polyp"], True), (["polyp", "head"], False), (["Segment_1"], False), ([], False)],
)
def test_label_of_another_bundle_is_left_to_it(names, foreign):
    info = [{"name": name} for name in names]
    assert is_foreign(info, FISH, ["head", "tail", "polyp"]) is foreign


def test_swapped_values_are_swapped_back():
    label = np.array([0, 1, 2, 9])
    np.testing.assert_array_equal(renumbered(label, {1: 2, 2: 1}), [0, 2, 1, 9])
    np.testing.assert_array_equal(label, [0, 1, 2, 9])


def test_volume_is_written_in_place_with_its_affine(tmp_path):
    affine = np.diag([-1.0, 2.0, 1.0, 1.0])
    label = np.zeros((3, 4, 2), dtype=np.uint8)
    label[0], label[1] = 1, 2
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "saved.nii.gz")
    case = {"image": "/s/case.nii.gz", "label": str(tmp_path / "saved.nii.gz"), "values": {1: 2}}
    made = write_renumbered(case, tmp_path / "labels")
    found = nib.load(made["label"])
    np.testing.assert_allclose(found.affine, affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.where(label, 2, 0))
    assert write_renumbered({**case, "values": {}}, tmp_path)["label"] == case["label"]


def test_cases_of_like_names_keep_their_own_labels(tmp_path):
    made = []
    for number, image in enumerate(("/s/1.2.840.nii.gz", "/s/1.2.841.nii.gz", "/t/1.2.840.nii.gz")):
        label = np.zeros((3, 4, 2), dtype=np.uint8)
        label[number] = 1
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / f"{number}.nii.gz")
        case = {"image": image, "label": str(tmp_path / f"{number}.nii.gz"), "values": {1: 2}}
        made.append(write_renumbered(case, tmp_path / "labels")["label"])
    for number, path in enumerate(made):
        assert np.asarray(nib.load(path).dataobj)[number].min() == 2


def test_photograph_is_written_with_rows_and_columns_as_they_were(tmp_path):
    mask = np.zeros((6, 9), dtype=np.uint8)
    mask[1, 7] = 3
    Image.fromarray(mask).save(tmp_path / "saved.png")
    case = {"image": "/s/photo.png", "label": str(tmp_path / "saved.png"), "values": {3: 1}}
    found = np.asarray(Image.open(write_renumbered(case, tmp_path / "labels")["label"]))
    assert found.shape == (6, 9) and found[1, 7] == 1 and found.sum() == 1
