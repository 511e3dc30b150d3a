"""Agreement of concepts with the masks: figures known by arithmetic, and the page."""

import json
import math

import pytest
from monai.bundle import run as run_bundle
from phantoms import write_photos

from conceptseg.concepts import Concepts
from conceptseg.concepts.described import described
from conceptseg.extraction.agreement import agreement, descriptor_counts, entropy
from conceptseg.extraction.records import ConceptLine
from conceptseg.extraction.store import ConceptFile, Described, load_concepts


def said(*locations: str | None) -> dict:
    """Descriptions of cases 0, 1, ... by location."""
    return {
        (str(i), "polyp"): Described(
            description=described(Concepts(keyword="polyp", location=place))
        )
        for i, place in enumerate(locations)
    }


def truth(*locations: str) -> dict:
    return {
        (str(i), "polyp"): Concepts(keyword="polyp", location=w) for i, w in enumerate(locations)
    }


def test_the_figures_of_a_small_table_are_right():
    found = agreement(
        said("left", "left", "left", "right", None), truth("left", "left", "right", "right", "left")
    )["location"]
    assert found.labels == 5 and found.answered == 0.8
    assert found.accuracy == 0.75 and found.majority == 0.5
    assert found.off_majority == 0.5
    assert found.kappa == pytest.approx((0.75 - 0.5) / 0.5)  # chance: 2/4 * 3/4 + 2/4 * 1/4
    assert found.entropy == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))
    assert found.truth_entropy == 1


def test_a_source_that_always_says_the_same_knows_nothing():
    found = agreement(said(*["center"] * 4), truth("center", "center", "center", "left"))[
        "location"
    ]
    assert found.accuracy == found.majority == 0.75
    assert found.kappa == 0 and found.entropy == 0 and found.off_majority == 0


def test_where_all_are_alike_kappa_is_not_defined():
    found = agreement(said("left", "left"), truth("left", "left"))["location"]
    assert found.kappa is None and found.off_majority is None and found.accuracy == 1


def test_attributes_nobody_speaks_of_have_no_row_and_other_cases_are_refused():
    assert set(agreement(said("left"), truth("left"))) == {"location"}
    with pytest.raises(ValueError, match="dataset_dir"):
        agreement(said("left"), {("x", "polyp"): Concepts(keyword="polyp")})


def test_entropy_is_in_bits():
    assert entropy({"a": 1, "b": 1, "c": 1, "d": 1}) == 2
    assert entropy({"a": 5}) == 0 and entropy({}) == 0


def test_what_is_said_is_counted():
    assert descriptor_counts(said("left", "left", "top"))["location"] == {"left": 2, "top": 1}


def test_the_report_is_one_page_with_figures_and_pictures(repository, tmp_path):
    data = write_photos(tmp_path / "data", 5)
    with ConceptFile(tmp_path / "<b>.jsonl") as file:
        for i in range(5):
            words = described(Concepts(keyword="polyp", number=1, location="center"), "model")
            file.append(ConceptLine(case=f"images/{i}.png", keyword="polyp", description=words))
    bundle = repository / "bundles" / "polyp_endoscopy_segmentation"
    run_bundle(
        "report",
        config_file=str(bundle / "configs" / "extract_concepts.yaml"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(data),
        report_sources={"<b>model": str(tmp_path / "<b>.jsonl")},
        report_file=str(tmp_path / "report.html"),
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") == 5 and "http" not in page and "<b>" not in page
    assert "&lt;b&gt;model: 5 labels" in page
    figures = json.loads((tmp_path / "report.json").read_text())["<b>model"]
    assert figures["number"]["accuracy"] == 1 and figures["number"]["kappa"] is None
    assert set(figures) == {"number", "location"}


def test_the_real_tables_location_is_little_better_than_the_commonest(
    shared_data, repository, tmp_path
):
    from conceptseg.extraction.tables import import_table

    folder = shared_data / "kvasir"
    import_table(folder / "concepts.csv", tmp_path / "c.jsonl", "polyp", folder)
    found = {k: v for k, v in load_concepts(tmp_path / "c.jsonl").items() if k[0].startswith("val")}
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(
        str(repository / "bundles/polyp_endoscopy_segmentation/configs/extract_concepts.yaml")
    )
    parser["dataset_dir"] = str(folder)
    dataset = parser.get_parsed_content("dataset")
    dataset.data = [c for c in dataset.data if "/validation/" in c["image"]][:60]
    from conceptseg.extraction.agreement import measure_truth

    names = [c["image"].removeprefix(f"{folder}/") for c in dataset.data]
    figures = agreement(found, measure_truth(dataset, names, ["polyp"]))
    assert figures["number"].labels == 60 and figures["number"].majority > 0.85
    assert figures["location"].accuracy < figures["location"].majority + 0.1
    assert 0 < figures["location"].kappa < 0.4
