"""A prompt becomes what each label is asked, and what a guided mask may cover."""

import pytest
import torch

from conceptseg.concepts import ATTRIBUTES, parse_prompt
from conceptseg.guidance import mostly_kept, plan_prompt, remarks_on_fit, restrict_to_prompt

POLYP = ("polyp",)
HIPPOCAMPUS = ("anterior hippocampus", "posterior hippocampus")
RAS = ("right", "anterior", "superior")
LPS = ("left", "posterior", "superior")
SHAPE = (12, 10, 9)


def box(*starts, size=2):
    """Probabilities (*SHAPE) of 0.9 in a cube at the given indices, 0.1 elsewhere."""
    volume = torch.full(SHAPE, 0.1)
    volume[tuple(slice(s, s + size) for s in starts)] = 0.9
    return volume


def covered(probabilities):
    """Voxels above one half."""
    return probabilities > 0.5


def restricted(volume, prompt, directions=RAS, keywords=POLYP):
    """One volume restricted to a prompt, the same for all labels (K, *SHAPE)."""
    plan = plan_prompt(prompt, keywords, volume=True)
    return restrict_to_prompt(volume.expand(len(keywords), *volume.shape), plan, directions)


def test_without_a_prompt_all_labels_are_asked_text_free():
    plan = plan_prompt(None, HIPPOCAMPUS)
    assert not plan.guided
    assert plan.asked == plan.keywords == HIPPOCAMPUS
    assert plan.sentences == ["", ""]


def test_a_prompt_becomes_a_canonical_sentence():
    plan = plan_prompt("The LITTLE roundish polyp, upper left!", POLYP)
    assert plan.guided
    assert plan.sentences == ["round small polyp, located in the top left of the image"]
    assert plan.warnings == ()


def test_only_named_labels_are_asked():
    plan = plan_prompt("small posterior hippocampus", HIPPOCAMPUS, volume=True)
    assert plan.asked == ("posterior hippocampus",)
    assert plan.sentences == ["", "small posterior hippocampus"]


@pytest.mark.parametrize("prompt", ["small", "both small hippocampi", "small hippocampus"])
def test_a_prompt_for_no_label_in_particular_speaks_of_all(prompt):
    plan = plan_prompt(prompt, HIPPOCAMPUS, volume=True)
    assert plan.asked == HIPPOCAMPUS
    assert plan.sentences == ["small anterior hippocampus", "small posterior hippocampus"]


def test_side_and_level_of_a_volume_stay_out_of_the_sentence():
    plan = plan_prompt("small hippocampus on the left side at the upper level", HIPPOCAMPUS, True)
    assert (plan.laterality, plan.level) == ("left", "superior")
    assert plan.sentences[0] == "small anterior hippocampus"


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("polyp on the left side", "left"),
        ("polyp on the left side at the upper level", "top left"),
        ("polyp at the lower level", "bottom"),
        ("polyp at the middle level", "center"),
        ("polyp on the left, on the left side", "left"),
    ],
)
def test_side_and_level_of_an_image_are_places(prompt, place):
    plan = plan_prompt(prompt, POLYP)
    assert plan.sentences == [f"polyp, located in the {place} of the image"]
    assert (plan.laterality, plan.level) == (None, None)
    assert plan.warnings == ()


def test_a_side_that_contradicts_the_place_is_named():
    plan = plan_prompt("polyp in the top right, on the left side", POLYP)
    assert plan.sentences == ["polyp, located in the top right of the image"]
    assert "'left' is left out beside 'top right'" in plan.warnings[0]


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(prompt):
    with pytest.raises(ValueError, match=r"expected a concept prompt such as 'small polyp'.*empty"):
        plan_prompt(prompt, POLYP)


def test_an_over_long_prompt_is_refused():
    with pytest.raises(ValueError, match="shorten it"):
        plan_prompt("small " * 500, POLYP, strict=False)


def test_unknown_words_are_an_error_that_helps():
    with pytest.raises(
        ValueError, match=r"expected words.*'polyp', got 'polip'.*did you mean polyp"
    ):
        plan_prompt("small polip", POLYP)


def test_unknown_words_are_a_single_warning_where_they_may_be():
    plan = plan_prompt("small blorft polyp", POLYP, strict=False)
    assert plan.sentences == ["small polyp"]
    assert [warning.count("'blorft'") for warning in plan.warnings] == [1, 1]


def test_measures_are_warned_of():
    plan = plan_prompt("5 mm polyp", POLYP)
    assert plan.sentences == ["polyp"]
    assert "'5 mm' is left out" in plan.warnings[0]


def test_labels_not_asked_for_are_empty():
    result = restricted(box(5, 5, 5), "posterior hippocampus", keywords=HIPPOCAMPUS)
    assert result[0].max() == 0
    assert torch.equal(result[1], box(5, 5, 5))


def test_labels_of_an_image_are_restricted_by_name_alone():
    probabilities = torch.linspace(0.2, 0.3, 96).reshape(2, 6, 8)  # nothing stands out
    plan = plan_prompt("anterior hippocampus in the left", HIPPOCAMPUS)
    result = restrict_to_prompt(probabilities, plan)
    assert torch.equal(result[0], probabilities[0])
    assert result[1].max() == 0


def test_the_input_is_left_as_it_was():
    probabilities = box(0, 0, 0)[None].clone()
    plan = plan_prompt("polyp on the right side", POLYP, volume=True)
    assert restrict_to_prompt(probabilities, plan, RAS).max() < 0.5
    assert torch.equal(probabilities[0], box(0, 0, 0))


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_other_side_is_removed(side):
    left, right = box(1, 4, 4), box(9, 4, 4)  # the index grows to the right
    result = restricted(torch.maximum(left, right), f"polyp on the {side} side")[0]
    assert torch.equal(covered(result), covered({"left": left, "right": right}[side]))


@pytest.mark.parametrize(("level", "start"), [("inferior", 0), ("middle", 3), ("superior", 6)])
def test_other_levels_are_removed(level, start):
    volume = torch.stack([box(1, 4, 0), box(5, 4, 3), box(9, 4, 6)]).amax(dim=0)
    result = restricted(volume, f"polyp at the {level} level")[0]
    assert covered(result).any(dim=0).any(dim=0).nonzero().flatten().tolist() == [start, start + 1]


def test_side_and_level_restrict_together():
    wanted = box(9, 4, 6)
    volume = torch.stack([box(1, 4, 6), box(9, 4, 0), wanted]).amax(dim=0)
    result = restricted(volume, "polyp on the right side at the superior level")[0]
    assert torch.equal(covered(result), covered(wanted))


@pytest.mark.parametrize("phrase", ["on the left side", "on the right side"])
@pytest.mark.parametrize("start", range(11))
def test_ras_and_lps_volumes_of_a_patient_keep_the_same_parts(phrase, start):
    ras = box(start, 4, 4)  # at start 5 centred on the midline
    kept = restricted(ras, f"polyp {phrase}", RAS)
    lps = restricted(ras.flip(0, 1), f"polyp {phrase}", LPS)
    assert torch.equal(lps.flip(1, 2), kept)
    assert bool(covered(kept).any()) == ((start >= 5) == (phrase == "on the right side"))


def test_a_side_without_the_object_is_remarked_on():
    volume = box(9, 4, 4)[None]
    plan = plan_prompt("polyp on the left side at the upper level", POLYP, True)
    kept = restrict_to_prompt(volume, plan, RAS)
    (remark,) = remarks_on_fit(plan, torch.tensor([0.9]), volume, kept)
    assert "found, but not on the left side at the superior level" in remark


def test_the_soft_border_of_a_kept_part_stays():
    volume = box(1, 4, 4)
    soft = torch.maximum(volume, 0.3 * volume.roll(1, 1))
    kept = restricted(soft, "polyp on the left side")[0]
    assert torch.equal(kept, soft)  # a part of one side, its border below 0.5 included
    assert not covered(restricted(soft, "polyp on the right side")).any()


@pytest.mark.parametrize("level", ["inferior", "middle", "superior"])
@pytest.mark.parametrize("start", range(9))
def test_levels_do_not_depend_on_the_direction_of_the_index(level, start):
    volume = box(5, 4, start, size=1)  # nine slices, three for each level
    kept = restricted(volume, f"polyp at the {level} level")
    downwards = ("right", "anterior", "inferior")
    flipped = restricted(volume.flip(2), f"polyp at the {level} level", downwards)
    assert torch.equal(flipped.flip(3), kept)
    expected = ("inferior", "middle", "superior")[start // 3]
    assert bool(covered(kept).any()) == (level == expected)


@pytest.mark.parametrize("start", [2, 5])
def test_a_part_on_the_border_of_two_levels_belongs_to_the_middle(start):
    volume = box(5, 4, start)  # centred at one or two thirds of nine slices
    for directions in (RAS, ("right", "anterior", "inferior")):
        kept = restricted(volume, "polyp at the middle level", directions)
        assert torch.equal(covered(kept)[0], covered(volume))


def test_axes_may_come_in_another_order():
    volume = torch.maximum(box(1, 4, 4), box(9, 4, 4))
    kept = restricted(volume, "polyp on the left side")[0]
    turned = restricted(
        volume.permute(2, 0, 1), "polyp on the left side", ("superior", "right", "anterior")
    )[0]
    assert torch.equal(turned.permute(1, 2, 0), kept)
    assert covered(kept).any()


def test_a_part_across_the_midline_is_kept_or_removed_whole():
    part = box(4, 4, 4, size=5)  # centre at index 6 of 12, right of the midline
    assert torch.equal(covered(restricted(part, "polyp on the right side")[0]), covered(part))
    assert not covered(restricted(part, "polyp on the left side")[0]).any()


def test_an_empty_mask_stays_empty():
    result = restricted(torch.zeros(SHAPE), "polyp on the left side")
    assert result.shape == (1, *SHAPE)
    assert result.max() == 0


def test_upper_and_lower_are_levels_of_a_volume():
    plan = plan_prompt("upper left anterior hippocampus", HIPPOCAMPUS, volume=True)
    assert (plan.level, plan.laterality) == ("superior", "left")
    assert plan.sentences == ["anterior hippocampus", ""]


def test_a_prompt_for_none_empties_every_mask():
    plan = plan_prompt("no polyp", ["polyp"])
    assert plan.guided and plan.asked == ()
    assert float(restrict_to_prompt(torch.ones(1, 4, 4), plan).sum()) == 0


def spots(*cells, size=2):
    """An image's probabilities (1, 18, 18) with spots in cells (column, row) of the 3 x 3 grid."""
    image = torch.full((1, 18, 18), 0.1)
    for column, row in cells:
        image[0, 6 * column + 2 : 6 * column + 2 + size, 6 * row + 2 : 6 * row + 2 + size] = 0.9
    return image


def at(prompt, image):
    """Where the mask of an image restricted to a prompt is."""
    return restrict_to_prompt(image, plan_prompt(prompt, POLYP))[0] > 0.5


@pytest.mark.parametrize(
    ("place", "cell"),
    [("lower left", (0, 2)), ("right", (2, 1)), ("top", (1, 0)), ("center", (1, 1))],
)
def test_of_several_objects_in_an_image_the_one_in_the_place_stays(place, cell):
    everything = spots((0, 2), (2, 1), (1, 0), (1, 1))
    kept = at(f"polyp in the {place}", everything)
    assert torch.equal(kept, spots(cell)[0] > 0.5)
    assert torch.equal(at("1 polyp", everything), everything[0] > 0.5)


def test_where_none_lies_in_the_place_those_beside_it_stay():
    image = spots((0, 0), (2, 2))
    assert torch.equal(at("polyp in the left", image), spots((0, 0))[0] > 0.5)
    assert torch.equal(at("polyp in the center", image), image[0] > 0.5)
    assert not at("polyp in the right", spots((0, 0))).any()


def test_a_speck_in_the_place_does_not_displace_the_object_beside_it():
    image = torch.maximum(spots((0, 1), size=4), spots((0, 0), size=1))  # 16 pixels, and 1
    assert at("polyp in the top left", image).sum() == 17
    assert at("polyp in the left", image).sum() == 16


def test_the_place_of_several_objects_is_their_common_centre_and_restricts_nothing():
    image = spots((0, 1), (2, 1))
    assert torch.equal(at("2 polyps in the center", image), image[0] > 0.5)
    plan = plan_prompt("many polyps on the left side", POLYP)
    assert (plan.place, plan.common_place) == (None, "left")
    assert plan_prompt("polyp on the left side", POLYP).common_place is None


def test_the_largest_and_the_smallest_part_are_kept():
    image = torch.maximum(spots((0, 1), size=4), spots((2, 2), size=3))  # 16 and 9 pixels
    assert at("largest polyp", image).sum() == 16
    assert at("the smaller of the 2 polyps", image).sum() == 9
    assert at("the two largest polyps", image).sum() == 25
    assert at("5 smallest polyps", image).sum() == 25
    assert at("largest polyp in the bottom right", image).sum() == 9
    assert at("largest polyp", spots()).sum() == 0
    specked = torch.maximum(image, spots((0, 0), size=1))
    assert at("smallest polyp", specked).sum() == 9  # a speck is no object


def test_a_rank_is_kept_out_of_the_sentence_and_the_place_of_one_of_several_restricts():
    plan = plan_prompt("the largest of 3 red polyps on the left", POLYP)
    assert plan.sentences == ["3 red polyps, located in the left of the image"]
    assert (plan.place, plan.common_place) == ("left", None)
    assert plan_prompt("2 largest polyps", POLYP).sentences == ["polyp"]
    with pytest.raises(ValueError, match="got 'largest'"):
        plan_prompt("all but the largest polyp", POLYP)


def test_what_was_understood_says_what_restricts_the_mask():
    assert plan_prompt("small polyp", POLYP).understood == ["small polyp"]
    assert plan_prompt("2 largest red polyps", POLYP).understood == ["red polyp (the 2 largest)"]
    prompt = "largest anterior hippocampus on the left side"
    plan = plan_prompt(prompt, HIPPOCAMPUS, volume=True)
    assert plan.understood == ["anterior hippocampus (left side, the largest)", ""]
    assert plan_prompt(None, POLYP).understood == [""]


def test_the_rank_counts_in_every_label_asked_for_and_in_volumes():
    volume = torch.full((2, 12, 12, 12), 0.1)
    volume[:, 1:4, 1:4, 1:4] = 0.9
    volume[:, 7:9, 7:9, 7:9] = 0.8
    plan = plan_prompt("smallest hippocampus", HIPPOCAMPUS, volume=True)
    kept = restrict_to_prompt(volume, plan, ("right", "anterior", "superior"))
    assert [int((label > 0.5).sum()) for label in kept] == [8, 8]
    assert kept[0, 0, 0, 0] == volume[0, 0, 0, 0]  # the soft border stays


def test_a_prompt_for_an_image_that_leaves_the_size_open_is_said_with_each_size():
    plan = plan_prompt("red polyp in the upper left", ["polyp", "ulcer"])
    assert len(plan.sized) == len(ATTRIBUTES["size"])
    for size, (told, other) in zip(ATTRIBUTES["size"], plan.sized, strict=True):
        assert other == "" and "red" in told and "top left" in told
        assert parse_prompt(told, ["polyp"]).concepts.size == size


@pytest.mark.parametrize("prompt", [None, "small polyp", "no polyp"])
def test_no_size_is_tried_where_one_is_said_or_nothing_is_asked_for(prompt):
    assert plan_prompt(prompt, POLYP).sized == ()
    assert plan_prompt("polyp", POLYP, volume=True).sized == ()


def test_a_mask_is_mostly_kept_where_nine_tenths_of_it_are():
    everywhere = torch.zeros(4, 10, 10)
    everywhere[:3] = 0.9
    kept = everywhere.clone()
    kept[1, 0] = 0.4  # a tenth
    kept[2, 0] = kept[2, 1, 0] = 0.4
    kept[3] = 0.9  # drawn where nothing was found
    assert mostly_kept(everywhere, kept).tolist() == [True, True, False, False]


def test_the_background_is_not_touched_and_patient_directions_restrict_no_image():
    image = spots((0, 0), (2, 2))
    result = restrict_to_prompt(image, plan_prompt("polyp in the top left", POLYP))
    assert torch.equal(result[image < 0.5], image[image < 0.5])
    slices = plan_prompt("anterior hippocampus in the posterior", HIPPOCAMPUS)
    assert slices.place == "posterior"
    assert torch.equal(restrict_to_prompt(image.expand(2, 18, 18), slices)[0], image[0])
