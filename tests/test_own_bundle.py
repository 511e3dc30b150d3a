"""Bundles for one's own labels: chosen after the images, complete, and running as a user runs them."""

import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, run, verify_metadata, verify_net_in_out
from monai.data import MetaTensor
from monai.transforms import Compose
from phantoms import disc_photo, write_photos, write_volumes
from PIL import Image

from conceptseg.evaluation import evaluate_case
from conceptseg.export.bundle_export import export_bundle
from conceptseg.export.zoo_checks import check_bundle
from conceptseg.own_bundle import (
    OwnBundle,
    choose_for_volumes,
    patterns_for,
    survey_images,
    with_task,
    write_after_first_fit,
    write_own_bundle,
)
from conceptseg.start_weights import OtherNetworkError

HIPPOCAMPUS = "hippocampus_mr_segmentation"
POLYP = "polyp_endoscopy_segmentation"
WOUND = "wound_photo_segmentation"
KIDNEYS = OwnBundle(
    ["left kidney", "right kidney"],
    "Kidneys in CT",
    "CT",
    spacing=[1.5, 1.5, -1.0],
    slice_axes=[2],
    slice_size=64,
)


def network_of(bundle, config="inference"):
    """A config's network."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / f"{config}.yaml"))
    return parser.get_parsed_content("network_def")


@pytest.mark.parametrize(
    "spacing, extent, chosen",
    [
        ((1, 1, 1), (35, 51, 48), ([1, 1, 1], [0, 1, 2], 64)),
        ((0.8, 0.8, 1.2), (60, 60, 60), ([0.8, 0.8, 0.8], [0, 1, 2], 80)),
        ((1, 1, 1), (180, 220, 180), ([1, 1, -1], [2], 224)),  # too large for three axes
        ((0.7, 0.7, 3), (60, 60, 90), ([0.7, 0.7, -1], [2], 96)),
        ((4, 0.5, 0.5), (120, 150, 140), ([-1, 0.5, 0.5], [0], 304)),  # sagittal slices
        (
            (0.5, 0.5, 5),
            (480, 480, 300),
            ([1.5, 1.5, -1], [2], 320),
        ),  # the field at most 320 pixels
        ((1, 1, 4), (10, 10, 40), ([1, 1, -1], [2], 32)),  # the network's smallest
    ],
)
def test_slices_hold_the_field_of_view(spacing, extent, chosen):
    found = choose_for_volumes(spacing, extent)
    assert (found.spacing, found.slice_axes, found.slice_size) == chosen


def test_what_somebody_has_chosen_is_kept_and_slices_still_hold_the_field():
    sparse = ((0.7, 0.7, 3), (60, 60, 90))
    found = choose_for_volumes(*sparse, wanted_spacing=[1.0, 2.0, -1])
    assert (found.spacing, found.slice_axes, found.slice_size) == ([1.0, 2.0, -1], [2], 64)
    found = choose_for_volumes(*sparse, wanted_axes=[0, 2])
    assert (found.slice_axes, found.slice_size) == ([0, 2], 96)
    assert choose_for_volumes((1, 1, 3), (60, 60, 120), [1, 1, 1], [0, 1, 2]).slice_size == 128


def test_volumes_are_measured_along_the_body_s_axes(tmp_path):
    sagittal = np.array([[0, 0, 3.0, 0], [0.5, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    for number, shape in enumerate([(40, 30, 8), (60, 30, 8), (40, 30, 12)]):
        path = tmp_path / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), sagittal), path)
    (tmp_path / "labels" / "final").mkdir(parents=True)  # as MONAI Label leaves them
    mask = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.diag([9.0, 9, 9, 1]))
    nib.save(mask, tmp_path / "labels" / "final" / "0.nii.gz")
    seen = survey_images(tmp_path)
    assert (seen.count, seen.is_volume) == (3, True)
    assert seen.spacing == (3.0, 0.5, 1.0)
    assert seen.extent == (36.0, 30.0, 30.0)


def test_pictures_are_told_from_volumes_and_grey_from_color(tmp_path):
    write_photos(tmp_path / "color", 3)
    seen = survey_images(tmp_path / "color")
    assert (seen.count, seen.is_volume, seen.is_grey) == (3, False, False)
    (tmp_path / "grey").mkdir()
    Image.fromarray(disc_photo(0)[0]).convert("L").save(tmp_path / "grey" / "0.png")
    assert survey_images(tmp_path / "grey").is_grey
    write_volumes(tmp_path / "both", 1)
    shutil.copy(tmp_path / "grey" / "0.png", tmp_path / "both" / "images" / "picture.png")
    with pytest.raises(ValueError, match=r"both \(picture\.png"):
        survey_images(tmp_path / "both")
    (tmp_path / "alone" / "masks").mkdir(parents=True)
    shutil.copy(tmp_path / "grey" / "0.png", tmp_path / "alone" / "masks" / "0.png")
    with pytest.raises(ValueError, match="masks alone"):
        survey_images(tmp_path / "alone")


@pytest.mark.parametrize(
    "pattern, own, forbidden",
    [
        (HIPPOCAMPUS, KIDNEYS, ("hippoc", "anterior")),
        (
            POLYP,
            OwnBundle(["nodule"], "Nodules", "ultrasound", is_grey=True),
            ("polyp", "colonosc"),
        ),
        (WOUND, OwnBundle(["burn", "scar"], "Burns", image_size=96), ("ulcer", "fuseg")),
    ],
)
def test_every_config_knows_the_new_labels_alone(repository, tmp_path, pattern, own, forbidden):
    bundle = write_own_bundle(tmp_path / "mine", repository / "bundles" / pattern, own)
    for name in ("train", "inference", "extract_concepts"):
        config = yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text())
        assert config["keywords"] == list(own.labels)
        for key in ("spacing", "slice_axes", "slice_size", "image_size"):
            if getattr(own, key) is not None and name != "extract_concepts":
                assert config[key] == getattr(own, key)
    train = yaml.safe_load((bundle / "configs" / "train.yaml").read_text())
    assert train["flip_probability"] == (0.0 if own is KIDNEYS else 0.5)
    assert train.get("color", True) != own.is_grey
    assert network_of(bundle).state_dict().keys() == network_of(bundle, "train").state_dict().keys()
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["eval_metrics"] == {}  # the figures of the pattern are not its own
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == len(own.labels) + 1
    assert list(pred["channel_def"].values()) == ["background", *own.labels]
    for file in bundle.rglob("*"):
        if file.is_file() and file.name != "LICENSE":
            text = file.read_text().lower()
            assert "card_" not in text and "@dataset_card" not in text, file
            if file.name != "README.md":  # its vocabulary names places
                assert [word for word in forbidden if word in text] == [], file
    readme = (bundle / "docs" / "README.md").read_text()
    assert own.title in readme and f'--prompt "{own.labels[-1]}"' in readme


def test_metadata_follow_the_schema_and_the_network(repository, tmp_path, metadata_schema):
    bundle = write_own_bundle(tmp_path / "kidneys", repository / "bundles" / HIPPOCAMPUS, KIDNEYS)
    meta, config = (str(bundle / "configs" / n) for n in ("metadata.json", "inference.yaml"))
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, device="cpu")
    verify_metadata(meta_file=meta, filepath=str(metadata_schema))


def test_a_window_takes_the_place_of_normalisation(repository, tmp_path):
    own = OwnBundle(["liver"], "Liver", "CT", window=(-160.0, 240.0))
    bundle = write_own_bundle(tmp_path / "liver", repository / "bundles" / HIPPOCAMPUS, own)
    volume = np.full((8, 8, 8), 40.0)
    volume[:4], volume[7] = -1000.0, 140.0
    case = {"image": str(tmp_path / "case.nii.gz"), "label": str(tmp_path / "label.nii.gz")}
    for path, array in zip(case.values(), (volume, (volume > 0).astype(np.uint8)), strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), path)
    for name, key in (("inference", "preprocessing"), ("train", "train#deterministic_transforms")):
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / f"{name}.yaml"))
        steps = parser.get_parsed_content(key)
        steps = steps if name == "inference" else Compose(steps)
        image = np.asarray(steps(dict(case))["image"])
        values = sorted(np.unique(image.round(4)))
        assert values == [-2.0, 0.0, 1.0], name
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["image"]["value_range"] == [-2.0, 2.0]
    with pytest.raises(ValueError, match="window"):
        OwnBundle(["liver"], "Liver", window=(240.0, -160.0))


@pytest.mark.parametrize("largest", [True, False])
def test_lesions_keep_all_parts_and_organs_one(repository, tmp_path, largest):
    own = OwnBundle(["liver"], "Liver", largest_part=largest)
    bundle = write_own_bundle(tmp_path / "liver", repository / "bundles" / HIPPOCAMPUS, own)
    inference, evaluation = ConfigParser(), ConfigParser()
    inference.read_config(str(bundle / "configs" / "inference.yaml"))
    configs = [bundle / "configs" / f"{name}.yaml" for name in ("train", "evaluate")]
    evaluation.read_config([str(path) for path in configs])
    clean = inference.get_parsed_content("postprocessing").transforms
    judged = evaluation.get_parsed_content("validate#postprocessing").transforms
    for steps in (clean, judged):
        names = [type(step).__name__ for step in steps]
        assert ("KeepLargestConnectedComponentd" in names) == largest


@pytest.mark.parametrize("keep_parts, dice", [(False, 1.0), (True, 2 / 3)])
def test_a_second_kidney_counts_in_evaluation(repository, tmp_path, keep_parts, dice):
    own = OwnBundle(["kidney"], "Kidneys", largest_part=keep_parts)
    bundle = write_own_bundle(tmp_path / "kidneys", repository / "bundles" / HIPPOCAMPUS, own)
    parser = ConfigParser()
    configs = [bundle / "configs" / f"{name}.yaml" for name in ("train", "evaluate")]
    parser.read_config([str(path) for path in configs])
    label = np.zeros((8, 8, 8))
    label[:2], label[4:6] = 1, 1
    pred = MetaTensor(np.stack([1 - label, label]))
    data = dict.fromkeys(("text_free", "text_guided_oracle", "no_condition"), pred)
    cleaned = parser.get_parsed_content("validate#postprocessing")(data)["text_free"]
    assert evaluate_case(cleaned, label, ["kidney"])[0]["dice"] == pytest.approx(dice)


def test_a_chosen_value_that_the_pattern_has_no_line_for_is_refused(repository, tmp_path):
    pattern = shutil.copytree(
        repository / "bundles" / HIPPOCAMPUS, tmp_path / "pattern", ignore=lambda *_: ["models"]
    )
    config = pattern / "configs" / "evaluate.yaml"
    kept = [x for x in config.read_text().splitlines() if not x.startswith("largest_part")]
    config.write_text("\n".join(kept))
    with pytest.raises(ValueError, match=r"largest_part in the pattern's evaluate\.yaml"):
        write_own_bundle(tmp_path / "kidneys", pattern, KIDNEYS)
    assert not (tmp_path / "kidneys").exists()


def test_shared_weights_are_where_training_starts(repository, tmp_path):
    source = repository / "bundles" / HIPPOCAMPUS
    own = OwnBundle(["posterior hippocampus", "amygdala"], "Amygdala")
    weights = source / "models" / "model.pt"
    bundle = write_own_bundle(tmp_path / "amygdala", source, own, weights)
    old, new = (torch.load(p / "models/model.pt", weights_only=True) for p in (source, bundle))
    assert torch.equal(new["null_embedding"][0], old["null_embedding"][1])
    assert torch.equal(new["decoder.head.weight"], old["decoder.head.weight"])
    network_of(bundle).load_state_dict(new)
    assert "CC BY-SA" in (bundle / "docs" / "data_license.txt").read_text()
    assert HIPPOCAMPUS in (bundle / "docs" / "README.md").read_text()


def test_what_cannot_be_made_leaves_nothing_behind(repository, tmp_path):
    source = repository / "bundles" / HIPPOCAMPUS
    with pytest.raises(ValueError, match="different labels"):
        OwnBundle(["kidney", "Kidney"], "Kidneys")
    with pytest.raises(ValueError, match="words"):
        OwnBundle(["kidney_2"], "Kidneys")
    assert OwnBundle(["L1 vertebra", "L2 vertebra"], "Vertebrae").labels[1] == "L2 vertebra"
    for name in ("my bundle", "my-bundle", "my__bundle", "nière"):  # the zoo takes none of these
        with pytest.raises(ValueError, match="folder name"):
            write_own_bundle(tmp_path / name, source, KIDNEYS)
    with pytest.raises(FileNotFoundError, match="bundle of this project"):
        write_own_bundle(tmp_path / "kidneys", tmp_path, KIDNEYS)
    other = repository / "bundles" / WOUND / "models" / "model.pt"
    with pytest.raises(OtherNetworkError, match="of this network"):
        write_own_bundle(tmp_path / "kidneys", source, KIDNEYS, other)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kidneys").mkdir()
    with pytest.raises(FileExistsError, match="exists"):
        write_own_bundle(tmp_path / "kidneys", source, KIDNEYS)


def test_without_weights_the_images_choose_the_pattern(repository):
    shipped = repository / "bundles"
    assert patterns_for(shipped, True) == [shipped / HIPPOCAMPUS]
    assert patterns_for(shipped, False) == [shipped / POLYP]


def test_weights_choose_the_bundle_they_lie_in_or_one_that_they_fit(repository, tmp_path):
    shipped, own = repository / "bundles", OwnBundle(["burn"], "Burns")
    weights = shipped / WOUND / "models" / "model.pt"
    assert patterns_for(shipped, False, weights)[0].name == WOUND
    copied = shutil.copy(weights, tmp_path / "given.pt")
    patterns = patterns_for(shipped, False, copied)
    assert patterns[0].name == POLYP  # which they do not fit
    chosen = write_after_first_fit(tmp_path / "burns", patterns, own, copied, ["wound"])
    assert chosen.name == WOUND
    again = tmp_path / "burns" / "models" / "model.pt"
    assert [p.name for p in patterns_for(shipped, False, again)] == [POLYP, WOUND, "burns"]
    with pytest.raises(ValueError, match="bundle of volumes"):
        patterns_for(shipped, True, weights)
    other = shutil.copy(shipped / HIPPOCAMPUS / "models" / "model.pt", tmp_path / "other.pt")
    known = ["anterior hippocampus", "posterior hippocampus"]
    with pytest.raises(OtherNetworkError, match=f"{POLYP}, {WOUND}.*--like"):
        write_after_first_fit(tmp_path / "none", patterns, own, other, known)
    assert not (tmp_path / "none").exists()


def test_a_new_bundle_passes_the_zoos_checks_once_somebody_has_completed_it(repository, tmp_path):
    source = repository / "bundles" / WOUND
    target = with_task(tmp_path / "burns")
    assert target.name == "burns_segmentation" and with_task(target) == target
    own = OwnBundle(["burn"], "Burns")
    bundle = write_own_bundle(target, source, own, source / "models" / "model.pt")

    def failed() -> dict[str, str]:
        folder = export_bundle(bundle, tmp_path / "out", overwrite=True).folder
        return {c.name: c.detail for c in check_bundle(folder) if c.passed is False}

    assert list(failed()) == ["licences"]
    terms, meta = bundle / "docs" / "data_license.txt", bundle / "configs" / "metadata.json"
    terms.write_text("Photographs of our clinic, CC BY 4.0.\n")
    said = dict.fromkeys(("authors", "copyright", "data_source"), "our clinic")
    meta.write_text(json.dumps(json.loads(meta.read_text()) | said))
    assert failed() == {}


def test_the_readme_and_metadata_of_a_new_bundle_are_true_of_it(repository, tmp_path):
    own = OwnBundle(["burn"], "Burns")
    bundle = write_own_bundle(tmp_path / "burns", repository / "bundles" / WOUND, own)
    readme = (bundle / "docs" / "README.md").read_text()
    assert "is mixed with it when given" in readme and "takes its place" not in readme
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert "included weights" not in metadata["intended_use"]  # there are none
    assert "probabilities" in metadata["pred_classes"]


def test_the_command_follows_the_bundle_of_the_weights(repository, tmp_path):
    photos = write_photos(tmp_path / "photos", 2)
    command = [sys.executable, str(repository / "scripts" / "new_bundle.py")]
    command += [str(tmp_path / "burns"), "--labels", "burn", "--images", str(photos)]
    command += ["--weights", str(repository / "bundles" / WOUND / "models" / "model.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and f"pattern    {WOUND}" in done.stdout, done.stderr
    bundle = tmp_path / "burns_segmentation"
    assert "data_license.txt" in done.stdout and (bundle / "models" / "model.pt").is_file()
    command[2] = str(tmp_path / "other")
    refused = subprocess.run(
        [*command, "--like", POLYP], capture_output=True, text=True, timeout=300
    )
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1
    assert f"fit {POLYP}, got another" in refused.stderr and "--like" in refused.stderr


def test_the_command_makes_a_bundle_that_trains_and_segments(repository, tmp_path):
    data = write_volumes(tmp_path / "data", 6)
    command = [sys.executable, str(repository / "scripts" / "new_bundle.py")]
    command += [str(tmp_path / "halves"), "--labels", "front", "back"]
    command += ["--images", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "6 volumes" in done.stdout and "32 pixels at [1.0, 1.0, 1.0] mm" in done.stdout
    assert f"--studies {data / 'images'}" in done.stdout
    other = [*command[:2], str(tmp_path / "other"), *command[3:], "--like", POLYP]
    refused = subprocess.run(other, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1 and "a bundle of volumes" in refused.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 1 and "exists" in again.stderr
    assert "name       halves_segmentation: the" in done.stdout
    bundle = tmp_path / "halves_segmentation"
    common = {
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "logging_file": False,
        "bundle_root": str(bundle),
        "network_def#backbone#feature_channels": [4, 8, 8, 8],
        "network_def#decoder#feature_channels": [4, 8, 8, 8],
    }
    training = {"max_epochs": 1, "batch_volumes": 2, "slices_per_volume": 2, "num_workers": 0}
    config = str(bundle / "configs" / "train.yaml")
    run(config_file=config, dataset_dir=str(data), **training, **common)
    run(
        config_file=str(bundle / "configs" / "inference.yaml"),
        dataset_dir=str(data / "images" / "case_0.nii.gz"),
        output_dir=str(tmp_path / "masks"),
        prompt="back in the posterior",
        **common,
    )
    mask = nib.load(tmp_path / "masks" / "case_0_seg.nii.gz")
    assert mask.shape == (20, 28, 12)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 2}
