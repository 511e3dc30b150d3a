"""Concepts from a file in training: true after flips, left out after crops, and the whole recipe."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import run as run_bundle
from monai.transforms import Compose, LoadImaged, RandAffined, RandFlipd, Resized, SpatialCrop
from phantoms import write_photos, write_volumes

from conceptseg.concepts import ATTRIBUTES, Concepts, MeasuredConcepts, parse_prompt
from conceptseg.concepts.described import described
from conceptseg.concepts.descriptors import descriptors_of
from conceptseg.extraction.recorded import RecordedConcepts, kept_share, moved_location
from conceptseg.extraction.records import ConceptLine
from conceptseg.extraction.store import ConceptFile
from conceptseg.image_io import ConceptImageReader, ThresholdMaskd
from conceptseg.transforms import ConceptPromptd

PHOTO = ("right", "bottom")
WORDS = Concepts(
    keyword="polyp", number=3, location="top left", shape="oval", size="large", color="blue"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Phantom photographs and a concept file that says `WORDS` and a texture of all of them."""
    folder = write_photos(tmp_path_factory.mktemp("photos"), 6)
    with ConceptFile(folder / "concepts.jsonl") as file:
        for i in range(6):
            words = described(WORDS, "model")
            texture = {"texture": words.values["shape"].model_copy(update={"value": "smooth"})}
            words = words.model_copy(update={"values": words.values | texture})
            file.append(
                ConceptLine(
                    case=f"images/{i}.png", keyword="polyp", description=words, fraction=314 / 3072
                )
            )
    return folder


def load(folder, *random, case: int = 0) -> dict:
    """A case after the transforms `random`."""
    keys = ("image", "label")
    readers = [ConceptImageReader(channels=3), ConceptImageReader(is_label=True)]
    loaders = [
        LoadImaged(k, reader=r, ensure_channel_first=True)
        for k, r in zip(keys, readers, strict=True)
    ]
    data = {
        k: str(folder / d / f"{case}.png") for k, d in zip(keys, ("images", "masks"), strict=True)
    }
    return Compose([*loaders, ThresholdMaskd("label"), *random])(data)


def say(folder, data: dict, geometry: str) -> tuple[Concepts, dict]:
    source = RecordedConcepts(folder / "concepts.jsonl", folder, geometry)
    mask = np.asarray(data["label"])[0] > 0
    return source(np.asarray(data["image"]), mask, "polyp", PHOTO, data["image"])


def flip(axis: int) -> RandFlipd:
    return RandFlipd(["image", "label"], spatial_axis=axis, prob=1)


def test_remeasured_geometry_comes_from_the_mask_and_the_rest_from_the_file(photos):
    data = load(photos, flip(0))
    concepts, descriptors = say(photos, data, "remeasured")
    mask = np.asarray(data["label"])[0] > 0
    measured = MeasuredConcepts()(np.asarray(data["image"]), mask, "polyp", PHOTO)
    assert concepts == measured.model_copy(update={"color": "blue"})
    assert descriptors == {"texture": "smooth"}


@pytest.mark.parametrize(
    "flips, place",
    [((), "top left"), ((0,), "top right"), ((1,), "bottom left"), ((0, 1), "bottom right")],
)
def test_moved_geometry_follows_flips_and_resizing(photos, flips, place):
    data = load(photos, Resized(["image", "label"], (48, 48), mode="nearest"), *map(flip, flips))
    concepts, descriptors = say(photos, data, "moved")
    assert concepts == WORDS.model_copy(update={"location": place})
    assert descriptors == {"texture": "smooth"}


def test_moved_places_agree_with_the_mask_under_affine_transforms(photos):
    turn = RandAffined(
        ["image", "label"], prob=1, rotate_range=0.5, scale_range=0.2, shear_range=0.1,
        translate_range=4, mode=["bilinear", "nearest"], padding_mode="zeros",
    )  # fmt: skip
    turn.set_random_state(0)
    errors = []
    for case in range(6):
        before, after = load(photos, case=case), load(photos, turn, case=case)
        points = [np.argwhere(np.asarray(d["label"])[0] > 0) for d in (before, after)]
        fraction = len(points[0]) / (64 * 48)
        if kept_share(fraction, np.asarray(after["label"])[0] > 0, after["image"]) > 0.98:
            affine = np.linalg.inv(np.asarray(after["image"].affine))
            moved = (affine @ [*points[0].mean(0), 0, 1])[:2]
            errors.append(np.abs(moved - points[1].mean(0)).max())
    assert len(errors) >= 3 and max(errors) < 1.5  # pixels


def test_what_a_crop_makes_untrue_is_left_out(photos):
    data = load(photos)
    mask = np.asarray(data["label"])[0]
    x = int(np.argwhere(mask > 0)[:, 0].mean())
    cut = {k: data[k][:, x:] for k in ("image", "label")}  # half the disc
    kept = kept_share(314 / 3072, np.asarray(cut["label"])[0] > 0, cut["image"])
    assert kept == pytest.approx(0.5, abs=0.1)
    concepts, descriptors = say(photos, cut, "moved")
    assert concepts.number is concepts.shape is concepts.size is concepts.color is None
    assert descriptors == {}
    gone = {k: v * 0 if k == "label" else v for k, v in data.items() if k in ("image", "label")}
    assert say(photos, gone, "moved")[0].number == 0


def test_what_a_copied_object_makes_untrue_is_left_out(photos):
    data = load(photos)
    mask = np.asarray(data["label"])
    twice = {**data, "label": np.maximum(mask, mask[:, ::-1])}  # another disc on the other side
    concepts, descriptors = say(photos, twice, "moved")
    assert concepts == Concepts(keyword="polyp") and descriptors == {}


def test_a_place_that_has_left_the_image_is_not_said(photos):
    image = load(photos)["image"]
    assert moved_location("top left", image, PHOTO) == "top left"
    right = SpatialCrop(roi_start=(32, 0), roi_end=(64, 48))(image)
    assert moved_location("top left", right, PHOTO) is None
    assert moved_location("top right", right, PHOTO) == "top"
    assert moved_location("superior", image, PHOTO) is None


def test_a_case_the_file_does_not_know_is_named(photos, tmp_path):
    (tmp_path / "concepts.jsonl").touch()
    source = RecordedConcepts(tmp_path / "concepts.jsonl", photos)
    data = load(photos)
    mask = np.asarray(data["label"])[0] > 0
    with pytest.raises(ValueError, match=r"images/0\.png"):
        source(np.asarray(data["image"]), mask, "polyp", PHOTO, data["image"])
    with pytest.raises(ValueError, match="track_meta"):
        source(np.asarray(data["image"]), mask, "polyp", PHOTO, torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="remeasured"):
        RecordedConcepts(tmp_path / "concepts.jsonl", photos, "guessed")


def test_prompts_say_what_the_file_says_and_its_descriptors(photos):
    lists = descriptors_of("endoscopy")
    prompter = ConceptPromptd(
        ["polyp"], directions=PHOTO, color=True, mode_shares=(1, 0, 0, 0), attribute_dropout=0,
        short_share=0, recorded=RecordedConcepts(photos / "concepts.jsonl", photos, "moved"),
        descriptors=lists,
    )  # fmt: skip
    data = prompter(load(photos, flip(0)))
    assert data["prompt"] == (
        "3 oval large blue polyps, located in the top right of the image, smooth texture"
    )
    assert data["attributes"].shape == (1, len(ATTRIBUTES) + len(lists))
    named = dict(zip([*ATTRIBUTES, *lists], data["attributes"][0].tolist(), strict=True))
    assert named["texture"] == lists["texture"].index("smooth") and named["margin"] == -1


def test_attributes_the_file_does_not_know_are_not_said(photos, tmp_path):
    with ConceptFile(tmp_path / "c.jsonl") as file:
        words = described(Concepts(keyword="polyp", color="red"), "model")
        file.append(ConceptLine(case="images/0.png", keyword="polyp", description=words))
    prompter = ConceptPromptd(
        ["polyp"], directions=PHOTO, color=True, mode_shares=(1, 0, 0, 0), attribute_dropout=0,
        short_share=0, recorded=RecordedConcepts(tmp_path / "c.jsonl", photos, "moved"),
    )  # fmt: skip
    assert prompter(load(photos))["prompt"] == "red polyp"


def test_descriptors_are_said_of_what_is_not_there_as_of_what_is(photos):
    prompter = ConceptPromptd(
        ["polyp"], directions=PHOTO, color=True, mode_shares=(0, 1, 0, 0), attribute_dropout=0,
        short_share=0, contradiction_share=0,
        recorded=RecordedConcepts(photos / "concepts.jsonl", photos),
        descriptors={"texture": ("smooth", "granular")},
    )  # fmt: skip
    data = load(photos)
    data["label"] = data["label"] * 0
    assert prompter(data)["prompt"].endswith(" texture")


def test_paraphrased_prompts_are_read_as_the_same_concepts(photos):
    prompter = ConceptPromptd(
        ["polyp"], directions=PHOTO, color=True, mode_shares=(1, 0, 0, 0), attribute_dropout=0,
        short_share=0, recorded=RecordedConcepts(photos / "concepts.jsonl", photos, "moved"),
        paraphrase_share=0.7,
    )  # fmt: skip
    prompter.set_random_state(0)
    data = load(photos)
    prompts = {prompter(data)["prompt"] for _ in range(20)}
    assert len(prompts) > 10
    assert {parse_prompt(p, ["polyp"]).concepts for p in prompts} == {WORDS}


SMALL = {
    "network_def#backbone#feature_channels": [4, 8, 8, 8],
    "network_def#decoder#feature_channels": [4, 8, 8, 8],
    "cache_rate": 0,
    "max_epochs": 1,
}


@pytest.mark.parametrize("geometry", ["moved", "remeasured"])
def test_the_polyp_recipe_trains_on_a_concept_file_with_descriptors(
    repository, photos, tmp_path, geometry
):
    bundle = repository / "bundles" / "polyp_endoscopy_segmentation"
    run_bundle(
        config_file=str(bundle / "configs" / "train.yaml"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(photos),
        output_dir=str(tmp_path),
        ckpt_dir=str(tmp_path),
        concepts_file=str(photos / "concepts.jsonl"),
        concepts_geometry=geometry,
        descriptor_modality="endoscopy",
        image_size=64,
        batch_size=2,
        **SMALL,
    )
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    total = sum(map(len, {**ATTRIBUTES, **descriptors_of("endoscopy")}.values()))
    assert state["readout.prototypes"].shape[0] == total
    run_bundle(
        config_file=str(bundle / "configs" / "inference.yaml"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(photos / "images" / "0.png"),
        output_dir=str(tmp_path / "out"),
        descriptor_modality="endoscopy",
        prompt="smooth polyp with a sharp margin in the upper left",
        image_size=64,
        **{"checkpointloader#load_path": str(tmp_path / "model.pt")},
        **{k: v for k, v in SMALL.items() if "network_def" in k},
    )
    row = json.loads((tmp_path / "out" / "summary.json").read_text())[0]
    assert row["prompt"] == (
        "polyp, located in the top left of the image, smooth texture, sharp margin"
    )
    assert "texture" in row["concepts_read_out"]


def test_the_hippocampus_recipe_trains_on_a_concept_file(repository, tmp_path):
    data = write_volumes(tmp_path / "data", 6)
    keywords = ("anterior hippocampus", "posterior hippocampus")
    with ConceptFile(tmp_path / "c.jsonl") as file:
        for i in range(6):
            for keyword in keywords:
                words = described(Concepts(keyword=keyword, number=1))
                file.append(
                    ConceptLine(case=f"images/case_{i}.nii.gz", keyword=keyword, description=words)
                )
    bundle = repository / "bundles" / "hippocampus_mr_segmentation"
    run_bundle(
        config_file=str(bundle / "configs" / "train.yaml"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(data),
        output_dir=str(tmp_path / "out"),
        ckpt_dir=str(tmp_path / "out"),
        concepts_file=str(tmp_path / "c.jsonl"),
        slice_size=32,
        slices_per_volume=2,
        batch_volumes=2,
        **SMALL,
    )
    assert (tmp_path / "out" / "model.pt").exists()
