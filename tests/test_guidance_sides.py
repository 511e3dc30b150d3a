"""A side said right before the object is the patient's in a volume, and body parts are no places."""

import pytest
import torch

from conceptseg.guidance import plan_prompt, remarks_on_fit, restrict_to_prompt

POLYP = ("polyp",)
HIPPOCAMPUS = ("anterior hippocampus", "posterior hippocampus")
RAS = ("right", "anterior", "superior")
LEFT, RIGHT = slice(1, 4), slice(8, 11)  # of twelve indices that grow to the right


def cube(side):
    """A mask's probabilities (12, 10, 9): 27 voxels on one side."""
    volume = torch.full((12, 10, 9), 0.1)
    volume[side, 4:7, 4:7] = 0.9
    return volume


def kept(volume, prompt, keywords=POLYP):
    """Where the masks of a volume restricted to a prompt are (K, *spatial)."""
    plan = plan_prompt(prompt, keywords, volume=True)
    return restrict_to_prompt(volume.expand(len(keywords), *volume.shape), plan, RAS) > 0.5


@pytest.mark.parametrize("prompt", ["left hippocampus", "the left small hippocampi", "left lesion"])
def test_a_side_before_the_object_is_the_patients_in_a_volume(prompt):
    plan = plan_prompt(prompt, HIPPOCAMPUS, volume=True)
    assert plan.laterality == "left"
    assert all("left" not in sentence for sentence in plan.sentences)
    assert any("read as the patient's left side" in warning for warning in plan.warnings)
    both = torch.maximum(cube(LEFT), cube(RIGHT))
    assert torch.equal(kept(both, prompt, HIPPOCAMPUS), (cube(LEFT) > 0.5).expand(2, -1, -1, -1))


def test_a_volume_that_shows_one_side_alone_is_not_emptied_by_the_name_of_the_other():
    volume = cube(RIGHT)
    volume[1, 1, 1] = 0.9  # a speck on the left
    assert torch.equal(kept(volume, "left polyp")[0], volume > 0.5)
    assert not kept(cube(RIGHT), "polyp on the left side").any()


def test_an_explicit_side_counts_more_than_the_one_before_the_object():
    plan = plan_prompt("left polyp on the right side", POLYP, volume=True)
    assert (plan.laterality, plan.only_side) == ("right", True)
    assert plan.sentences == ["polyp"]
    assert "'left' is left out beside 'on the right side'" in plan.warnings[0]
    assert plan_prompt("left polyp on the left side", POLYP, volume=True).only_side


@pytest.mark.parametrize(
    ("prompt", "keywords"),
    [
        ("left kidney", ("left kidney", "right kidney")),
        ("left wall", ("left ventricle wall", "left atrium wall")),
        ("polyp in the left", POLYP),
        ("1 polyp, located in the left of the image", POLYP),
        ("left and right polyp", POLYP),
    ],
)
def test_a_side_in_a_keyword_or_after_the_object_restricts_to_no_side(prompt, keywords):
    assert plan_prompt(prompt, keywords, volume=True).laterality is None


@pytest.mark.parametrize(
    ("prompt", "keyword"),
    [
        ("wound on the left hand", "wound"),
        ("left lung", "lung"),
        ("left foot ulcer", "foot ulcer"),
        ("left lung infection", "lung infection"),
        ("right breast tumor", "breast tumor"),
        ("left tumor", "breast tumor"),
        ("left thyroid nodule", "thyroid nodule"),
        ("left atrium", "atrium"),
        ("wound below the left knee", "wound"),
    ],
)
def test_a_side_of_a_body_part_is_no_place_in_an_image(prompt, keyword):
    plan = plan_prompt(prompt, (keyword,))
    assert plan.place is None
    assert plan.sentences == [keyword]
    assert "is left out" in plan.warnings[0]


def test_a_side_of_the_image_is_a_place_and_of_an_organ_in_a_volume_the_patients():
    assert plan_prompt("wound on the left hand side", ("wound",)).place == "left"
    assert plan_prompt("left polyp", POLYP).place == "left"
    assert plan_prompt("left lung", ("lung",), volume=True).laterality == "left"


@pytest.mark.parametrize("prompt", ["polyp with a dark center", "polyp below 5 mm"])
def test_words_that_say_no_place_do_not_restrict_an_image(prompt):
    plan = plan_prompt(prompt, POLYP)
    assert plan.place is None
    assert plan.sentences == ["polyp"]


def test_an_index_is_refused_as_an_unknown_word():
    with pytest.raises(ValueError, match=r"got '12' in 'polyp in slice 12'"):
        plan_prompt("polyp in slice 12", POLYP)
    assert plan_prompt("polyp in slice 12", POLYP, strict=False).sentences == ["polyp"]


def test_all_but_one_label_asks_for_the_others():
    plan = plan_prompt("all but the posterior hippocampus", HIPPOCAMPUS, volume=True)
    assert plan.asked == ("anterior hippocampus",)


@pytest.mark.parametrize(
    ("prompt", "keywords", "place"),
    [
        ("right lung and heart", ("lung", "heart"), None),
        ("left upper lung", ("lung",), "top"),
        ("right lung, bottom", ("lung",), "bottom"),
        ("lower left lung infection", ("lung infection",), "bottom"),
        ("upper left polyp", POLYP, "top left"),
    ],
)
def test_of_a_place_in_an_image_only_the_side_of_the_body_is_left_out(prompt, keywords, place):
    plan = plan_prompt(prompt, keywords)
    assert (plan.asked, plan.place) == (keywords, place)
    assert any("it is a side of the body" in w for w in plan.warnings) == (keywords != POLYP)


@pytest.mark.parametrize(
    ("prompt", "keywords", "side", "level"),
    [
        ("upper left hippocampus", HIPPOCAMPUS, "left", "superior"),
        ("left upper anterior hippocampus", HIPPOCAMPUS, "left", "superior"),
        ("right upper lung", ("lung",), "right", "superior"),
        ("left lung, bottom", ("lung",), "left", "inferior"),
    ],
)
def test_a_side_beside_a_level_restricts_a_volume_too(prompt, keywords, side, level):
    plan = plan_prompt(prompt, keywords, volume=True)
    assert (plan.laterality, plan.level, plan.only_side) == (side, level, False)
    assert not any("located" in sentence for sentence in plan.sentences)
    assert any(f"read as the patient's {side} side" in w for w in plan.warnings)


@pytest.mark.parametrize(
    ("prompt", "keywords"),
    [
        ("left lung and nodules", ("lung", "nodule")),
        ("left kidney and lungs", ("kidney", "lung")),
        ("left kidney and kidney tumors", ("kidney", "kidney tumor")),
        ("left anterior hippocampus and posterior hippocampus", HIPPOCAMPUS),
    ],
)
def test_a_side_restricts_the_label_it_is_said_of(prompt, keywords):
    both = torch.maximum(cube(LEFT), cube(RIGHT)) > 0.5
    first, second = kept(torch.where(both, 0.9, 0.1), prompt, keywords)
    assert torch.equal(first, cube(LEFT) > 0.5)
    assert torch.equal(second, both)
    remarks = plan_prompt(prompt, keywords, volume=True).warnings
    assert any(f"patient's left side of {keywords[0]!r} alone" in remark for remark in remarks)


@pytest.mark.parametrize(
    ("prompt", "keywords"),
    [
        ("left anterior and posterior hippocampus", HIPPOCAMPUS),
        ("nodules located in the left lung", ("lung", "nodule")),
        ("lung and nodules on the left side", ("lung", "nodule")),
    ],
)
def test_a_side_of_several_labels_restricts_them_all(prompt, keywords):
    both = torch.maximum(cube(LEFT), cube(RIGHT))
    assert torch.equal(kept(both, prompt, keywords), (cube(LEFT) > 0.5).expand(2, -1, -1, -1))


def test_a_label_without_a_side_is_not_said_to_be_missing_there():
    plan = plan_prompt("left lung and nodules at the upper level", ("lung", "nodule"), volume=True)
    found = torch.maximum(cube(LEFT), cube(RIGHT)).expand(2, -1, -1, -1)
    remarks = remarks_on_fit(plan, torch.ones(2), found, torch.zeros_like(found))
    assert "'lung' is found, but not on the left side at the superior level" in remarks[0]
    assert "'nodule' is found, but not at the superior level" in remarks[1]
