"""Concept tables: the official code's form, plain ones, and what is wrong in them."""

import json

import pytest
from phantoms import write_photos

from conceptseg.concepts.reading import read_value
from conceptseg.extraction.store import load_concepts
from conceptseg.extraction.tables import import_table

OFFICIAL = """Unnamed: 0,roi_name,text,text_prompt,number,location,shape,size,color
0,0.png,"{""number"": 1, ""location"": ""lower right corner"", ""shape"": ""circle"", ""size"": ""small"", ""color"": ""pink""}",x,1,7,2,0,2
1,1.png,"{""number"": 2012, ""location"": [0.1, 0.2, 0.3, 0.4], ""shape"": ""oval"", ""size"": ""large"", ""color"": ""red""}",x,14,35,2,3,6
2,2.png,"{""number"": 1, ""location"": ",x,1,7,2,0,2
3,9.png,"{""number"": 1}",x,1,7,2,0,2
"""


def test_the_official_table_is_read_by_its_answers_not_its_codes(tmp_path):
    data = write_photos(tmp_path / "data", 3)
    (tmp_path / "t.csv").write_text(OFFICIAL)
    summary = import_table(tmp_path / "t.csv", tmp_path / "c.jsonl", "polyp", data, "LLaVA")
    found = load_concepts(tmp_path / "c.jsonl")
    assert summary.rows == 2 and set(found) == {
        ("images/0.png", "polyp"),
        ("images/1.png", "polyp"),
    }
    first = found["images/0.png", "polyp"]
    said = first.description.concepts().model_dump(exclude_none=True, exclude={"keyword"})
    assert said == {
        "number": 1, "location": "bottom right", "shape": "round", "size": "small", "color": "pink"
    }  # fmt: skip
    value = first.description.values["shape"]
    assert (value.source, value.model, value.raw) == ("table", "LLaVA", {"table": "circle"})
    assert first.fraction == pytest.approx(314 / (64 * 48), rel=0.05)
    second = found["images/1.png", "polyp"].description.values
    assert set(second) == {"shape", "size", "color"}


def test_malformed_cells_and_rows_are_reported_by_line(tmp_path):
    data = write_photos(tmp_path / "data", 3)
    (tmp_path / "t.csv").write_text(OFFICIAL)
    summary = import_table(tmp_path / "t.csv", tmp_path / "c.jsonl", "polyp", data)
    where = [(number, column) for number, column, _ in summary.malformed]
    assert where == [(3, "number"), (3, "location"), (4, ""), (5, "")]
    text = summary.text()
    assert "2012" in text and "no JSON" in text and "0 images '9.png'" in text


def test_a_plain_table_gives_a_column_per_attribute_some_of_them_empty(tmp_path):
    (tmp_path / "t.csv").write_text(
        "file,color,place\na.png,reddish,\nb.png,,left side\n,red,left\na.png,red,left\nc.png,red\n"
    )
    summary = import_table(
        tmp_path / "t.csv",
        tmp_path / "c.jsonl",
        "polyp",
        columns={"image": "file", "location": "place"},
    )
    found = load_concepts(tmp_path / "c.jsonl")
    assert found["a.png", "polyp"].description.concepts().color == "red"
    assert found["b.png", "polyp"].description.concepts().location == "left"
    reasons = [reason for _, _, reason in summary.malformed]
    assert len(found) == 2 and len(reasons) == 3
    assert "no image" in reasons[0] and "again" in reasons[1] and "cells" in reasons[2]


def test_a_table_without_what_is_needed_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("picture,color\na.png,red\n")
    with pytest.raises(ValueError, match="name them with columns"):
        import_table(tmp_path / "t.csv", tmp_path / "c.jsonl", "polyp")
    with pytest.raises(FileNotFoundError, match="CSV"):
        import_table(tmp_path / "none.csv", tmp_path / "d.jsonl", "polyp")
    (tmp_path / "e.jsonl").touch()
    with pytest.raises(FileExistsError, match="another"):
        import_table(tmp_path / "t.csv", tmp_path / "e.jsonl", "polyp")


@pytest.mark.parametrize(
    "attribute, text, value",
    [
        ("number", "3", 3),
        ("location", "left side of the image", "left"),
        ("location", "upper left", "top left"),
        ("location", "middle of the image", "center"),
        ("shape", "circle", "round"),
        ("color", "Yellow", "yellow"),
        ("laterality", "left", "left"),
        ("level", "superior", "superior"),
    ],
)
def test_words_for_an_attribute_are_understood(attribute, text, value):
    assert read_value(attribute, text) == value


@pytest.mark.parametrize(
    "attribute, text",
    [
        ("number", "2012"), ("number", "0.08"), ("number", "0014"), ("number", "many"),
        ("location", "mouth"), ("location", "middle of the stomach"), ("location", ""),
        ("shape", "polyp"), ("shape", "pink"), ("shape", "round red"), ("size", "x" * 200),
        ("temper", "bad"),
    ],
)  # fmt: skip
def test_words_that_say_nothing_of_the_attribute_are_refused(attribute, text):
    with pytest.raises(ValueError, match="expected"):
        read_value(attribute, text)


def test_the_real_table_is_read_and_its_odd_rows_reported(shared_data, tmp_path):
    folder = shared_data / "kvasir"
    summary = import_table(folder / "concepts.csv", tmp_path / "c.jsonl", "polyp", None, "LLaVA")
    assert summary.rows == 900
    listed = {n for n, column, why in summary.malformed if column == "location" and "'[" in why}
    assert len(listed) == 45  # as many lists as the data set's own notes count
    said = load_concepts(tmp_path / "c.jsonl").values()
    assert all(d.description.concepts().size for d in said)
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])["kind"] == "concepts"
