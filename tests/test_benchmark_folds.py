"""Folds are those of the published numbers, on every machine and in every image format."""

import hashlib
from pathlib import Path

import pytest
from phantoms import write_photos
from PIL import Image

from conceptseg.benchmark.splits import make_split

STANZA = {"kind": "folds", "count": 5, "selection": 0.2}


def stems(cases: list[dict]) -> list[str]:
    """File names without suffix, in order."""
    return [Path(case["image"]).stem for case in cases]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG", ".tiff"])
def test_every_format_falls_into_the_folds_of_the_jpegs(tmp_path, suffix):
    write_photos(tmp_path, 23)
    for number in range(5):  # no object in these
        Image.new("L", (64, 48)).save(tmp_path / "masks" / f"{number}.png")
    for image in sorted((tmp_path / "images").iterdir()):
        image.rename(image.with_suffix(suffix))  # folds are dealt by name, images not opened

    def hashed(name: str) -> str:
        return hashlib.sha1(f"{name}.jpg".encode()).hexdigest()

    split = make_split(tmp_path, STANZA, tmp_path, 0)
    full, empty = (sorted(map(str, part), key=hashed) for part in (range(5, 23), range(5)))
    tested = [*full, *empty][::5]
    rest = sorted({*full, *empty} - {*tested}, key=hashed)
    assert stems(split["testing"]) == tested
    assert stems(split["validation"]) == rest[:4] and stems(split["training"]) == rest[4:]


def test_the_published_fold_of_the_wound_photographs_stays(shared_data):
    split = make_split(shared_data / "fuseg", STANZA | {"selection": 0.1}, shared_data, 0)
    assert stems(split["testing"][:3]) == ["0697", "0333", "0705"]
    assert stems(split["validation"][:3]) == ["0383", "0123", "0902"]
