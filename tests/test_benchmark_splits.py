"""Splits: disjoint, the same every time, and nested fractions."""

import numpy as np
import pytest
from PIL import Image

from conceptseg.benchmark.splits import make_split, nested_fraction
from conceptseg.datalist import folder_datalist


def write_photos(folder, count, empty=()):
    """Grey photographs; the masks of `empty` hold nothing."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        mask = np.zeros((8, 8), np.uint8)
        mask[2:5, 2:5] = 0 if i in empty else 255
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")


def names(cases):
    return {case["image"] for case in cases}


def test_smaller_fractions_lie_in_larger_ones_and_seeds_differ():
    cases = [{"image": str(i)} for i in range(50)]
    parts = [names(nested_fraction(cases, share, 3)) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [5, 13, 25, 50]
    assert parts[0] < parts[1] < parts[2] < parts[3]
    assert names(nested_fraction(cases, 0.1, 3)) == parts[0]
    assert names(nested_fraction(cases, 0.1, 4)) != parts[0]
    assert len(nested_fraction(cases, 0.001, 0)) == 1
    with pytest.raises(ValueError, match=r"in \(0, 1\], got 0"):
        nested_fraction(cases, 0, 0)


def test_the_folders_own_validation_cases_are_tested_on(tmp_path):
    write_photos(tmp_path / "train", 20)
    write_photos(tmp_path / "validation", 4)
    split = make_split(tmp_path, {"kind": "folders", "selection": 0.1}, tmp_path)
    sizes = {name: len(cases) for name, cases in split.items()}
    assert sizes == {"training": 18, "validation": 2, "testing": 4}
    assert all("validation" in case["image"] for case in split["testing"])
    assert not names(split["training"]) & names(split["validation"])
    assert split == make_split(tmp_path, {"kind": "folders", "selection": 0.1}, tmp_path)


def test_every_case_is_tested_in_one_fold_and_empty_masks_are_spread(tmp_path):
    write_photos(tmp_path, 23, empty=(0, 1, 2, 3, 4))
    stanza = {"kind": "folds", "count": 5, "selection": 0.2}
    empty = {str(tmp_path.absolute() / "images" / f"{i}.png") for i in range(5)}
    tested = []
    for fold in range(5):
        split = make_split(tmp_path, stanza, tmp_path, fold)
        assert not names(split["testing"]) & names(split["training"] + split["validation"])
        assert len(names(split["testing"]) & empty) == 1
        assert sum(map(len, split.values())) == 23
        tested += sorted(names(split["testing"]))
    assert len(tested) == len(set(tested)) == 23
    with pytest.raises(ValueError, match=r"fold in 0\.\.4, got 5"):
        make_split(tmp_path, stanza, tmp_path, 5)


def test_a_split_file_of_the_bundle_is_followed(tmp_path):
    write_photos(tmp_path / "data", 10)
    wanted = folder_datalist(tmp_path / "data", tmp_path / "docs" / "split.json", 0.2, 0.3)
    split = make_split(tmp_path / "data", {"kind": "file", "path": "docs/split.json"}, tmp_path)
    assert split == wanted
    with pytest.raises(FileNotFoundError, match=r"split file .*other\.json, got none"):
        make_split(tmp_path / "data", {"kind": "file", "path": "docs/other.json"}, tmp_path)
    assert not (tmp_path / "docs" / "other.json").exists()
    with pytest.raises(ValueError, match="kind out of"):
        make_split(tmp_path / "data", {"kind": "magic"}, tmp_path)


def test_no_wound_photograph_is_lost_and_each_fold_has_empty_ones(shared_data):
    stanza = {"kind": "folds", "count": 5, "selection": 0.1}
    split = make_split(shared_data / "fuseg", stanza, shared_data, 0)
    assert sum(map(len, split.values())) == 810
    empty = [
        case for case in split["testing"] if not (np.asarray(Image.open(case["label"])) > 127).any()
    ]
    assert len(split["testing"]) == 162 and 3 <= len(empty) <= 5
