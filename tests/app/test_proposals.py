"""Proposals are stored by a thread of their own, as a box, and read in the form of older versions too."""

import json
import threading

import nibabel as nib
import numpy as np
import pytest
from lib import proposals as module
from lib.proposals import Proposals, box_around
from PIL import Image

FACTS = {"bundle": "fish", "version": "v1"}
WAIT_SECONDS = 20


@pytest.fixture
def proposals(tmp_path) -> Proposals:
    return Proposals(tmp_path / "kept")


@pytest.fixture
def answer(tmp_path):
    """Write a mask as an answer's file; gives its path."""

    def write(mask: np.ndarray) -> str:
        path = tmp_path / "answer.nii.gz"
        nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
        return str(path)

    return write


def fish(*voxels: tuple[int, int, int, int]) -> np.ndarray:
    """(9, 8, 7) with voxels of the given places and values."""
    mask = np.zeros((9, 8, 7), dtype=np.uint8)
    for *place, value in voxels:
        mask[tuple(place)] = value
    return mask


def test_an_answer_does_not_wait_until_its_mask_is_stored(proposals, answer, monkeypatch, tmp_path):
    go_on, read = threading.Event(), module.map_of

    def slow(file):
        assert go_on.wait(WAIT_SECONDS)
        return read(file)

    monkeypatch.setattr(module, "map_of", slow)
    first, second = fish((1, 2, 3, 1)), fish((8, 7, 6, 2))
    proposals.keep("case_0", answer(first), FACTS, {"head": 1})
    proposals.keep("case_0", answer(second), FACTS, {"tail": 2})  # the file is written anew
    (tmp_path / "answer.nii.gz").unlink()  # as the server does after sending it
    threading.Timer(0.2, go_on.set).start()
    mask, facts = proposals.of("case_0")  # waits for both, in their order
    assert np.array_equal(mask, first + second)
    assert facts == FACTS | {"labels": {"head": 1, "tail": 2}}
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["case_0.npz"]


@pytest.mark.parametrize(
    "mask",
    [
        fish((2, 1, 3, 1), (4, 5, 3, 2)),
        fish(),
        fish((0, 0, 0, 1), (8, 7, 6, 1)),
        np.asfortranarray(fish((2, 1, 3, 1), (4, 5, 6, 2))),
    ],
)
def test_the_box_around_the_labels_is_stored_and_the_whole_mask_read(proposals, answer, mask):
    proposals.keep("case_0", answer(mask), FACTS, {"head": 1, "tail": 2})
    found, _ = proposals.of("case_0")
    assert np.array_equal(found, mask) and found.dtype == np.uint8
    with np.load(proposals.folder / "case_0.npz") as content:
        assert content["mask"].shape == mask[box_around(mask)].shape


def test_a_picture_of_one_pixel_is_kept(proposals, tmp_path):
    Image.fromarray(np.ones((1, 1), np.uint8)).save(tmp_path / "a.png")
    proposals.keep("a", str(tmp_path / "a.png"), FACTS, {"head": 1})
    assert proposals.of("a")[0] == 1


def test_a_box_is_as_small_as_can_be():
    assert box_around(fish((2, 1, 3, 1), (4, 5, 3, 2))) == (slice(2, 5), slice(1, 6), slice(3, 4))
    assert box_around(fish()) == (slice(0, 0),) * 3


def test_a_whole_mask_of_an_older_version_is_read_and_merged(proposals, answer):
    older = fish((1, 2, 3, 1), (5, 5, 5, 2))
    proposals.folder.mkdir()
    facts = json.dumps(FACTS | {"labels": {"head": 1, "tail": 2}})
    np.savez_compressed(proposals.folder / "case_0.npz", mask=older, facts=facts)
    assert np.array_equal(proposals.of("case_0")[0], older)
    proposals.keep("case_0", answer(fish((0, 0, 0, 1), (5, 5, 5, 1))), FACTS, {"head": 1})
    found, said = proposals.of("case_0")
    assert np.array_equal(found, fish((0, 0, 0, 1), (5, 5, 5, 1)))  # the newer label is above
    assert said["labels"] == {"head": 1, "tail": 2}


def test_answers_at_the_same_time_lose_nothing(proposals, tmp_path):
    def keep(value: int) -> None:
        path = tmp_path / f"{value}.nii.gz"
        nib.save(nib.Nifti1Image(fish((value, 0, 0, value)), np.eye(4)), path)
        proposals.keep("case_0", str(path), FACTS, {f"part {value}": value})

    threads = [threading.Thread(target=keep, args=(value,)) for value in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mask, facts = proposals.of("case_0")
    assert sorted(mask[mask > 0].tolist()) == list(range(1, 9)) and len(facts["labels"]) == 8


def test_a_mask_that_cannot_be_read_leaves_the_one_before(proposals, answer, tmp_path, caplog):
    proposals.keep("case_0", answer(fish((1, 2, 3, 1))), FACTS, {"head": 1})
    (tmp_path / "broken.nii.gz").write_bytes(b"no mask")
    proposals.keep("case_0", str(tmp_path / "broken.nii.gz"), FACTS, {"head": 1})
    assert proposals.of("case_0")[0].sum() == 1
    assert "'case_0' is not kept" in caplog.text
