"""Inference takes images and leaves the masks beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptseg.cases import images_to_segment, without_masks


def write(*paths: Path) -> None:
    """A picture at every path."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def names(root: Path, path: Path | None = None) -> list[str]:
    """What is segmented, below `root`."""
    found = images_to_segment(path or root)
    return [Path(case["image"]).relative_to(root).as_posix() for case in found]


@pytest.mark.parametrize("masks", ["masks", "labels", "mask", "label"])
def test_masks_beside_a_folder_of_images_are_left_out(tmp_path, masks):
    write(tmp_path / "images" / "p1" / "a.png", tmp_path / masks / "p1" / "a.png")
    write(tmp_path / "other" / "b.png")
    assert names(tmp_path) == ["images/p1/a.png", "other/b.png"]


def test_masks_are_left_out_at_every_level_and_in_every_layout(tmp_path):
    write(tmp_path / "train" / "images" / "a.png", tmp_path / "train" / "masks" / "a.png")
    write(tmp_path / "imagesTr" / "b.png", tmp_path / "labelsTr" / "b.png")
    write(tmp_path / "studies" / "c.png", tmp_path / "studies" / "labels" / "final" / "c.png")
    assert names(tmp_path) == ["imagesTr/b.png", "studies/c.png", "train/images/a.png"]


def test_a_folder_called_masks_without_images_beside_it_is_segmented(tmp_path):
    write(tmp_path / "p1" / "masks" / "a.png", tmp_path / "images" / "b.png")
    write(tmp_path / "masks" / "b.png")
    assert names(tmp_path) == ["images/b.png", "p1/masks/a.png"]
    assert names(tmp_path, tmp_path / "masks") == ["masks/b.png"]


def test_a_file_is_segmented_wherever_it_lies(tmp_path):
    write(tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png")
    assert names(tmp_path, tmp_path / "masks" / "a.png") == ["masks/a.png"]


def test_masks_alone_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    write(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match="masks alone"):
        images_to_segment(tmp_path)


def test_files_are_told_apart_below_what_the_user_named(tmp_path):
    image, mask = tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png"
    write(image, mask)
    assert without_masks([image, mask], tmp_path) == ([image], [mask])
    assert without_masks([mask], tmp_path / "masks") == ([mask], [])
    with pytest.raises(ValueError, match="masks alone"):
        without_masks([mask], tmp_path)
