"""What is wrong with saved labels is said before training, and how cases are split."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException
from lib.bundle import Bundle
from lib.options import default_config, read_options
from lib.preflight import check_cases, measured_concepts
from lib.scoring import on_axes_of
from lib.train import split_cases
from PIL import Image

from conceptseg.image_io import ConceptImageReader

FISH = SimpleNamespace(
    keywords=("head", "tail"), labels={"head": 1, "tail": 2}, dimension=3, name="fish"
)


@pytest.fixture
def case(tmp_path):
    """Write an image of 6 x 6 x 4 voxels and a label with the given values; gives their paths."""

    def write(name: str, values=(1, 2), shape=(6, 6, 4)) -> dict[str, str]:
        label = np.zeros(shape, dtype=np.uint8)
        for row, value in enumerate(values):
            label[row] = value
        rng = np.random.default_rng(0)
        paths = {"image": tmp_path / f"{name}.nii.gz", "label": tmp_path / f"{name}_l.nii.gz"}
        nib.save(nib.Nifti1Image(rng.random((6, 6, 4)), np.eye(4)), paths["image"])
        nib.save(nib.Nifti1Image(label, np.eye(4)), paths["label"])
        return {key: str(path) for key, path in paths.items()}

    return write


def test_good_labels_have_no_problems(case):
    assert check_cases([case("a")], [case("b")], FISH) == ([], [])


def test_only_labels_are_decoded_to_check_them(case, monkeypatch):
    cases, decoded, get_data = [case("a"), case("b")], [], ConceptImageReader.get_data

    def noted(reader, paths):
        decoded.extend(path.name for path in paths)
        return get_data(reader, paths)

    monkeypatch.setattr(ConceptImageReader, "get_data", noted)
    check_cases(cases[:1], cases[1:], FISH)
    assert decoded == ["a_l.nii.gz", "b_l.nii.gz"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"values": (1, 2, 9)}, "values 0..2, got also 9"),
        ({"shape": (6, 6, 5)}, "size (6, 6, 4), got (6, 6, 5)"),
    ],
)
def test_wrong_values_and_sizes_are_named_with_their_image(case, bad, words):
    (problem,), _ = check_cases([case("a"), case("bad", **bad)], [case("b")], FISH)
    assert problem.startswith("bad.nii.gz") and words in problem


def test_photographs_take_labels_that_are_volumes_of_one_slice(tmp_path):
    polyp = SimpleNamespace(keywords=("polyp",), labels={"polyp": 1}, dimension=2, name="polyp")
    cases = []
    for name in "ab":
        Image.new("RGB", (30, 20)).save(tmp_path / f"{name}.png")
        mask = np.zeros((30, 20, 1), dtype=np.uint8)
        mask[2:8, 12:18] = 1
        nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / f"{name}.nii.gz")
        paths = {"image": tmp_path / f"{name}.png", "label": tmp_path / f"{name}.nii.gz"}
        cases.append({key: str(path) for key, path in paths.items()})
    assert check_cases(cases[:1], cases[1:], polyp) == ([], [])
    assert "bottom left" in measured_concepts(cases, polyp)["a.png"]["polyp"]


def test_file_that_is_no_label_is_named(case):
    broken = case("broken")
    Path(broken["label"]).write_bytes(b"nothing")
    (problem,), _ = check_cases([case("a"), broken], [case("b")], FISH)
    assert problem.startswith("broken.nii.gz")


def test_label_that_no_training_image_shows_is_named(case):
    (problem,), _ = check_cases([case("a", (1,))], [case("b")], FISH)
    assert "tail" in problem and "head" not in problem


def test_empty_labels_are_told_and_allowed_beside_others(case):
    problems, empty = check_cases([case("a"), case("none", ())], [case("b")], FISH)
    assert problems == [] and empty == ["none.nii.gz"]


def test_empty_labels_alone_cannot_validate(case):
    (problem,), _ = check_cases([case("a")], [case("none", ())], FISH)
    assert "none.nii.gz" in problem and "validate" in problem


def test_both_sections_get_a_case_and_cases_stay_on_their_side():
    cases = [{"image": f"/studies/{i}.nii.gz", "label": ""} for i in range(400)]
    for share in (0.01, 0.5, 0.99):
        small = split_cases(cases[:2], share)
        assert len(small["training"]) == len(small["validation"]) == 1
    sections = split_cases(cases, 0.2)
    assert 60 < len(sections["validation"]) < 100
    for count in range(20, 400, 20):
        for section, members in split_cases(cases[:count], 0.2).items():
            assert all(case in sections[section] for case in members)


def test_concepts_are_measured_for_every_saved_label(case):
    found = measured_concepts([case("a"), case("none", ())], FISH)
    assert "head" in found["a.nii.gz"]["head"] and "tail" in found["a.nii.gz"]["tail"]
    assert set(found["none.nii.gz"]) == {"head", "tail"}


def test_descriptors_are_words_of_a_bundle_trained_with_them(repository, tmp_path):
    bundle = tmp_path / "polyp"
    shutil.copytree(
        repository / "bundles" / "polyp_endoscopy_segmentation" / "configs", bundle / "configs"
    )
    request = {"concept": "polyp with smooth texture"}
    with pytest.raises(HTTPException, match="smooth"):
        read_options(request, Bundle(bundle))
    config = bundle / "configs" / "inference.yaml"
    config.write_text(
        config.read_text().replace("descriptor_modality: null", "descriptor_modality: endoscopy")
    )
    assert "smooth texture" in read_options(request, Bundle(bundle)).plan.sentences[0]


def test_the_presence_threshold_shown_is_that_of_the_network_served(repository, tmp_path):
    bundle = tmp_path / "polyp"
    source = repository / "bundles" / "polyp_endoscopy_segmentation"
    shutil.copytree(source / "configs", bundle / "configs")
    config = bundle / "configs" / "inference.yaml"
    before, after = "presence_threshold: 0.5", "presence_threshold: 0.7"
    config.write_text(config.read_text().replace(before, after))
    assert default_config(Bundle(bundle))["presence_threshold"] == 0.7
    assert read_options({}, Bundle(bundle)).presence_threshold == 0.7
    # with the other network, whose config names none
    text = config.read_text().replace("\nnetwork_def:", "\ncompact_network_def:")
    config.write_text(text + "\nnetwork_def: '@clipseg_network_def'\n")
    assert Bundle(bundle).presence_threshold == 0.5


def test_a_label_in_a_servers_axes_is_scored_in_those_of_its_image():
    label = np.zeros((4, 5, 6), dtype=np.uint8)
    label[1, 2, 3] = 1
    image = nib.Nifti1Image(label, np.diag([1.0, 2.0, 3.0, 1.0]))
    for axes in ("LPS", "SAL", "RAS"):
        moved = image.as_reoriented(
            nib.orientations.ornt_transform(
                nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
            )
        )
        found = on_axes_of(np.asarray(moved.dataobj), moved.affine, image.affine)
        assert np.array_equal(found, label), axes
