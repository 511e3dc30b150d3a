"""Model cards hold the figures that were measured, for the weights they belong to, and no others."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from conceptseg.concept_dice import describe_reference, group_rows
from conceptseg.evaluation import CaseTable, evaluate_case
from conceptseg.export.model_card import keep_metrics, model_card, write_card

NAME = "hippocampus_mr_segmentation"


def square(size: int, corner: tuple[int, int], value: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """A bright square in noise: image (1, 60, 60) and label map (60, 60)."""
    label = np.zeros((60, 60), np.uint8)
    label[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = 1
    noise = np.random.default_rng(size).normal(0, 0.1, label.shape)
    return (noise + value * label)[None].astype(np.float32), label


def test_references_are_described_in_the_words_of_prompts():
    image, label = square(8, (2, 2))
    axes = ("right", "bottom")
    row, absent = describe_reference(image, label, 2, axes)
    assert row == {
        "size": "small",
        "location": "top left",
        "contrast": "bright",
        "reference_voxels": 64,
    }
    assert absent == {"size": "", "location": "", "contrast": "", "reference_voxels": 0}
    color = np.repeat(image, 3, axis=0)
    assert describe_reference(color, label, 1, axes)[0] == row
    dark, _ = square(8, (2, 2), -5.0)
    assert describe_reference(dark, label, 1, axes)[0]["contrast"] == "dark"


def table_of(sizes=(4, 8, 20), miss_small=True) -> CaseTable:
    """Squares of three sizes; the smallest is missed."""
    table = CaseTable(["text_free"])
    for size in sizes:
        image, label = square(size, (2, 2))
        pred = np.zeros_like(label) if miss_small and size == min(sizes) else label
        rows = evaluate_case(pred, label, ["a"])
        described = describe_reference(image, label, 1, ("right", "bottom"))
        rows = [row | words for row, words in zip(rows, described, strict=True)]
        table.add(f"case {size}", "text_free", rows)
    return table


def test_dice_is_grouped_by_size_location_and_contrast():
    groups = group_rows(table_of().rows)
    assert groups["size"] == {"tiny": [0.0], "small": [1.0], "medium": [1.0]}
    assert groups["size within label"] == {
        "smallest third": [0.0],
        "middle third": [1.0],
        "largest third": [1.0],
    }
    assert sorted(groups["location"]["top left"]) == [0, 1, 1]
    assert sorted(groups["contrast"]["bright"]) == [0, 1, 1]
    assert group_rows([{"label": "a", "dice": 1.0}]) == {
        "size": {},
        "location": {},
        "contrast": {},
        "size within label": {},
    }


@pytest.fixture
def bundle(repository, tmp_path) -> Path:
    """The hippocampus bundle with other weights and without figures."""
    folder = tmp_path / NAME
    source = repository / "bundles" / NAME
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("models", "metrics*"))
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").write_bytes(b"weights")
    return folder


def test_the_card_holds_the_measured_figures_and_the_counts(bundle, tmp_path):
    table = table_of()
    table.write_summary(tmp_path / "metrics.json")
    keep_metrics(bundle, tmp_path / "metrics.json", "metrics.json", bundle / "models" / "model.pt")
    text = model_card(bundle)
    dice = [row["dice"] for row in table.rows]
    assert f"| text-free | {np.mean(dice):.3f} ± {np.std(dice, ddof=1):.3f} | 1.000 | 3 |" in text
    assert "cases have a Dice below" not in text  # no uncertainty was measured
    assert "| size | tiny | 0.000 | 1 |" in text and "| a | 0.667 ± 0.577 (3)" in text
    split = json.loads((bundle / "docs" / "split.json").read_text())
    assert f"{len(split['training'])} to train" in text
    assert "| class | anterior hippocampus, posterior hippocampus |" in text
    record = json.loads((bundle / "docs" / "training.json").read_text())
    assert f"{record['hours']} hours" in text and "{" not in text.replace("${", "")


def test_the_card_says_what_the_uncertainty_finds(bundle, tmp_path):
    table = table_of()
    for row in table.select("text_free"):
        row["uncertainty"] = 1 - row["dice"]
    table.write_summary(tmp_path / "metrics.json")
    keep_metrics(bundle, tmp_path / "metrics.json", "metrics.json", bundle / "models" / "model.pt")
    assert "1 of 3 cases have a Dice below 0.5" in model_card(bundle)
    assert "area under the curve (ROC) of 1.00" in model_card(bundle)


def test_the_card_changes_with_the_training_record(bundle):
    record = {"hours": 1.5, "processes": 1, "device": "x86_64 CPU", "threads": 2, "epochs": 80}
    record |= {"images_seen": 1000, "estimated_kwh": 0.15, "estimated_grams_co2": 72.0}
    record |= {"assumed_watts": 100.0, "assumed_grams_per_kwh": 480.0}
    (bundle / "docs" / "training.json").write_text(json.dumps(record))
    assert "1.5 hours on 1 x x86_64 CPU" in model_card(bundle)
    assert "0.15 kWh and 72.0 g CO2 at an assumed 100 W" in model_card(bundle)


def test_figures_of_other_weights_and_unknown_figures_are_refused(bundle, tmp_path):
    table_of().write_summary(tmp_path / "metrics.json")
    keep_metrics(bundle, tmp_path / "metrics.json", "metrics.json", bundle / "models" / "model.pt")
    (bundle / "models" / "model.pt").write_bytes(b"trained again")
    with pytest.raises(ValueError, match="other weights"):
        model_card(bundle)
    keep_metrics(bundle, tmp_path / "metrics.json", "metrics.json", bundle / "models" / "model.pt")
    card = bundle / "docs" / "card.yaml"
    card.write_text(card.read_text().replace("{config[seed]}", "{config[sneed]}"))
    with pytest.raises(ValueError, match="sneed"):
        write_card(bundle)


def test_without_figures_the_card_says_so(bundle):
    assert "No figures are kept" in model_card(bundle)


def changed(bundle: Path, config: str, old: str, new: str) -> str:
    """The card after a change of a config."""
    file = bundle / "configs" / f"{config}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return model_card(bundle)


def test_the_card_says_whether_a_prompt_replaces_the_image_or_is_mixed_with_it(bundle):
    assert "takes its place when given" in model_card(bundle)
    text = changed(bundle, "inference", "prompt_strength: 1.0", "prompt_strength: 0.25")
    assert "takes its place" not in text
    assert "is mixed with it when given" in text and "of 0.25 (0: the image alone" in text


def words_of(card: str) -> dict[str, list[str]]:
    """The vocabulary table of a card."""
    table = card.split("## Prompt vocabulary")[1].split("##")[0]
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", table, re.MULTILINE)
    return {concept: words.split(", ") for concept, words in rows[1:]}


def test_the_vocabulary_of_volumes_has_the_places_of_their_slices(bundle):
    words = words_of(model_card(bundle))
    assert not {"top", "bottom", "top left"} & {*words["location"]}
    assert {"superior anterior", "anterior left", "inferior right"} <= {*words["location"]}
    assert "color" not in words and words["laterality"] == ["left", "right"]
    axial = words_of(changed(bundle, "train", "default: [0, 1, 2]", "default: [2]"))
    assert len(axial["location"]) == 9 and "superior" not in axial["location"]


def test_the_vocabulary_of_pictures_has_no_words_of_the_body(repository, tmp_path):
    folder = tmp_path / "wound_photo_segmentation"
    source = repository / "bundles" / folder.name
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("models"))
    words = words_of(model_card(folder))
    assert len(words["location"]) == 9
    assert {word for place in words["location"] for word in place.split()} == {
        *("top", "bottom", "left", "right", "center"),
    }
    assert "red" in words["color"] and not {"level", "laterality", "intensity"} & {*words}
    grey = words_of(changed(folder, "train", "name: color, default: true", "default: false"))
    assert "bright" in grey["intensity"] and "color" not in grey


def test_the_evaluation_on_public_data_leaves_training_cases_out(bundle):
    judge = "'configs/evaluate.yaml']\" --dataset_dir DATA"
    assert f"{judge} --split_file docs/split.json" in model_card(bundle)
    assert "in place of those there" in model_card(bundle)
    card = bundle / "docs" / "card.yaml"
    card.write_text(re.sub(r"\{split\[\w+\]\}", "some", card.read_text()))
    (bundle / "docs" / "split.json").unlink()
    assert f"{judge}\n" in model_card(bundle) and "docs/split.json` is for" not in model_card(
        bundle
    )


def test_the_card_says_which_training_was_recorded(bundle):
    card = bundle / "docs" / "card.yaml"
    card.write_text(card.read_text() + "recorded: A shorter training\n")
    assert "A shorter training took 1.14 hours" in model_card(bundle)


BUNDLES = [NAME, "polyp_endoscopy_segmentation", "wound_photo_segmentation"]


@pytest.mark.parametrize("name", BUNDLES)
def test_the_readmes_of_the_repository_are_what_the_generator_makes(repository, name):
    folder = repository / "bundles" / name
    assert (folder / "docs" / "README.md").read_text() == model_card(folder)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_networks_and_inferers_that_a_readme_offers_are_in_the_config(repository, name):
    folder = repository / "bundles" / name
    offered = re.findall(r"--(?:network_def|inferer) (\S+?)`? ", model_card(folder))
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    assert "@onnx_inferer" in offered
    assert set(offered) <= {f"@{key}" for key in config}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_readme_stands_without_the_repository(repository, name):
    text = model_card(repository / "bundles" / name)
    metadata = json.loads((repository / "bundles" / name / "configs/metadata.json").read_text())
    assert "docs/benchmarks" not in text and "docs/concepts.md" not in text
    installed = re.search(r"^pip install (.+)$", text, re.MULTILINE)[1]
    assert f"monai[fire]=={metadata['monai_version']}" in installed
    for package, version in metadata["required_packages_version"].items():
        assert f" {package}=={version}" in installed


def test_the_terms_of_included_weights_are_stated(repository):
    for name, terms in ((NAME, "CC BY-SA 4.0"), ("wound_photo_segmentation", "non-commercial")):
        folder = repository / "bundles" / name / "docs"
        assert f"Weights: {terms}" in (folder / "README.md").read_text()
        assert "THE WEIGHTS" in (folder / "data_license.txt").read_text()


def test_a_training_record_adds_up_over_a_resumed_run(tmp_path):
    import torch
    from ignite.engine import Engine

    from conceptseg.training_record import TrainingRecord

    for start, stop in ((0, 1), (1, 3)):
        engine = Engine(lambda engine, batch: {"image": torch.zeros(4, 1)})
        engine.state.device = torch.device("cpu")
        TrainingRecord(str(tmp_path / "training.json"), watts=50).attach(engine)
        if start:
            engine.load_state_dict({"epoch": start, "max_epochs": stop, "epoch_length": 2})
            engine.run([0, 1])
        else:
            engine.run([0, 1], max_epochs=stop)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["images_seen"] == 3 * 2 * 4 and record["epochs"] == 3
    assert record["estimated_grams_co2"] == round(record["estimated_kwh"] * 480, 1)
