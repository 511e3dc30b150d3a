"""The cards are complete, their page is up to date, and both bundles train with them."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from miniature_datasets import MINIATURES
from monai.bundle import ConfigParser, ConfigWorkflow, run

from conceptseg.concepts import parse_prompt
from conceptseg.datasets import (
    card_folder,
    card_keywords,
    card_names,
    card_value,
    load_card,
    without_card,
)
from conceptseg.datasets.prepare import CONVERTERS, prepare_dataset
from conceptseg.datasets.table import cards_page

POLYP = "polyp_endoscopy_segmentation"
HIPPOCAMPUS = "hippocampus_mr_segmentation"
THIRTEEN = [
    "acdc",
    "bkai_igh",
    "busi",
    "camus",
    "chaos",
    "cvc_clinicdb",
    "ddti",
    "dfu",
    "glas",
    "isic",
    "kvasir_seg",
    "mosmed_plus",
    "qata_cov19",
]
TRAINED = ("busi", "camus", "acdc")  # one epoch each: a grey picture, several labels, volumes
SMALL = {
    "network_def#backbone#feature_channels": [4, 8, 8, 8],
    "network_def#decoder#feature_channels": [4, 8, 8, 8],
    "cache_rate": 0,
}
SIZES = {
    POLYP: {"image_size": 32, "batch_size": 2},
    HIPPOCAMPUS: {"slice_size": 32, "slices_per_volume": 2, "batch_volumes": 2},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A function that prepares a card's miniature once and returns its folder."""
    folders: dict[str, Path] = {}

    def prepare(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            MINIATURES[name][0](folder / "source")
            prepare_dataset(load_card(name), folder / "source", folder / "out")
            folders[name] = folder / "out"
        return folders[name]

    return prepare


def overrides(name: str, data: Path, output: Path) -> dict:
    """What a short run with this card overrides."""
    return SMALL | SIZES[load_card(name).bundle] | {
        "dataset_card": name,
        "dataset_dir": str(data),
        "output_dir": str(output),
        "ckpt_dir": str(output),
        "max_epochs": 1,
    }  # fmt: skip


def test_the_thirteen_cards_are_there_and_complete():
    assert card_names() == THIRTEEN
    for name in THIRTEEN:
        card = load_card(name)
        assert card.bundle == (POLYP if card.form == "picture" else HIPPOCAMPUS)
        assert card.converter in CONVERTERS
        assert card.obtain.startswith("http") and card.archives and card.licence and card.citation
        sections = [card.counts.get(s) for s in ("training", "validation", "testing")]
        if None not in sections:
            assert sum(sections) == card.counts["cases"]


@pytest.mark.parametrize("name", THIRTEEN)
def test_a_prompt_can_name_every_label_of_a_card(name):
    keywords = load_card(name).keywords
    for keyword in keywords:
        for prompt in (keyword, f"1 small {keyword}, located in the left of the image"):
            parsed = parse_prompt(prompt, keywords)
            assert parsed.keywords == (keyword,)
            assert not parsed.unknown_words


def test_the_packaged_split_of_kvasir_seg_is_of_two_hundred_names():
    split = load_card("kvasir_seg").packaged_split()
    assert {section: len(set(names)) for section, names in split.items()} == {
        "validation": 100,
        "testing": 100,
    }
    assert not set(split["validation"]) & set(split["testing"])


def test_a_bad_card_is_refused(tmp_path):
    with pytest.raises(ValueError, match="busi"):
        load_card("no_such_set")
    text = (Path(prepare_dataset.__globals__["__file__"]).parent / "cards/busi.yaml").read_text()
    content = yaml.safe_load(text)
    for change in (
        {"colour": True},
        {"keywords": []},
        {"encoding": {"kind": "values", "values": {9: 2}}},
    ):
        path = tmp_path / f"{next(iter(change))}.yaml"
        path.write_text(yaml.safe_dump(content | change))
        with pytest.raises(ValueError, match="complete data set card"):
            load_card(str(path))


def test_the_page_of_cards_is_up_to_date(repository):
    page = (repository / "docs" / "datasets.md").read_text()
    assert page == cards_page(), "run: python scripts/prepare_dataset.py --table docs/datasets.md"


def test_cards_say_what_these_tests_did():
    trained = {n for n in THIRTEEN if "one epoch of training" in load_card(n).tested}
    assert trained == set(TRAINED)
    assert all("training configs" in load_card(n).tested for n in THIRTEEN)
    assert all("in miniature" in load_card(n).tested[0] for n in THIRTEEN)


def test_without_a_card_the_bundles_keep_their_own_values():
    assert card_keywords(None, ["polyp"], "picture") == ["polyp"]
    assert card_value(None, "spacing", [1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0]
    assert card_folder(None, "/b/models") == "/b/models"
    assert card_value("busi", "spacing", [1.0]) == [1.0]
    assert card_value("busi", "color", True) is False
    assert card_folder("GlaS", "/b/models") == "/b/models/glas"
    with pytest.raises(ValueError, match=HIPPOCAMPUS):
        card_keywords("acdc", ["polyp"], "picture")


@pytest.mark.parametrize("bundle", [POLYP, HIPPOCAMPUS])
@pytest.mark.parametrize("files", [["train"], ["train", "evaluate"], ["inference", "dataset_card"]])
def test_without_a_card_the_configs_give_their_own_values(repository, bundle, files):
    parser = ConfigParser()
    folder = repository / "bundles" / bundle / "configs"
    parser.read_config([str(folder / f"{name}.yaml") for name in files])
    parser["bundle_root"] = "B"
    own, looked_up = without_card(parser.config), 0
    for key, value in parser.config.items():
        if isinstance(value, dict) and "conceptseg.datasets" in str(value.get("_target_")):
            looked_up += 1
            expected = (
                own[key].replace("$@bundle_root + '", "B").strip("'")
                if "folder" in value
                else own[key]
            )
            assert parser.get_parsed_content(key) == expected
    assert looked_up > 1
    assert isinstance(own["keywords"], list)


@pytest.mark.parametrize("bundle", [POLYP, HIPPOCAMPUS])
def test_the_overlay_of_inference_repeats_its_values(repository, bundle):
    folder = repository / "bundles" / bundle / "configs"
    inference, overlay = (
        yaml.safe_load((folder / f"{name}.yaml").read_text())
        for name in ("inference", "dataset_card")
    )
    own = without_card(overlay)
    shared = set(own) & set(inference)
    assert "keywords" in shared
    assert {key: own[key] for key in shared} == {key: inference[key] for key in shared}


@pytest.mark.parametrize("name", THIRTEEN)
def test_configs_assemble_for_every_card(repository, prepared, tmp_path, name):
    card, data = load_card(name), prepared(name)
    bundle = repository / "bundles" / card.bundle
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.yaml"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        workflow_type="train",
        logging_file=False,
        bundle_root=str(bundle),
        **overrides(name, data, tmp_path),
    )
    workflow.initialize()
    parser = workflow.parser
    network = parser.get_parsed_content("network_def")
    assert tuple(network.keywords) == card.keywords
    item = parser.get_parsed_content("train#dataset")[0]
    item = item[0] if isinstance(item, list) else item
    assert item["mask"].shape[0] == len(card.keywords)
    assert item["image"].shape[0] == network.backbone.in_channels
    prompts = item["prompt"].split("\n")
    assert len(prompts) == len(card.keywords)
    assert all(
        keyword.split()[-1] in prompt
        for keyword, prompt in zip(card.keywords, prompts, strict=True)
    )
    validated = parser.get_parsed_content("validate#dataset")[0]
    assert validated["label"].max() <= len(card.keywords)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_one_epoch_of_training_evaluation_and_inference_with_a_card(
    repository, prepared, tmp_path, name
):
    card, data = load_card(name), prepared(name)
    bundle = repository / "bundles" / card.bundle
    output = tmp_path / "training"
    common = {"logging_file": False, "bundle_root": str(bundle)}
    names = ("train", "evaluate", "inference", "dataset_card")
    configs = [str(bundle / "configs" / f"{name}.yaml") for name in names]
    given = overrides(name, data, output)
    run(config_file=configs[:1], **common, **given)
    assert torch.load(output / "model.pt", weights_only=True)
    evaluated = {"output_dir": str(tmp_path / "eval"), "split_file": str(output / "split.json")}
    run(config_file=configs[:2], **common, **(given | evaluated))
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert "text_guided_oracle" in summary
    page = (tmp_path / "eval" / "report.html").read_text()
    assert card.training["title"] in page
    keep = ("network_def", "slice_size", "image_size", "dataset_card")
    chosen = {key: value for key, value in given.items() if key.startswith(keep)}
    predictions = tmp_path / "predictions"
    one = sorted((data / "images").iterdir())[0]
    run(
        config_file=configs[2:],
        **common,
        **chosen,
        **{"checkpointloader#load_path": str(output / "model.pt")},
        dataset_dir=str(one),
        output_dir=str(predictions),
    )
    rows = json.loads((predictions / "summary.json").read_text())
    assert [row["label"] for row in rows] == list(card.keywords)


def test_a_card_for_the_other_bundle_is_refused_by_name(repository, prepared, tmp_path):
    bundle = repository / "bundles" / POLYP
    with pytest.raises(Exception) as caught:
        run(
            config_file=str(bundle / "configs" / "train.yaml"),
            logging_file=False,
            bundle_root=str(bundle),
            **(SMALL | {"dataset_card": "acdc", "dataset_dir": str(prepared("acdc"))}),
        )
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert HIPPOCAMPUS in str(error)
