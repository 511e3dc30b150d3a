"""ConceptPromptd: what the network is asked to learn from a label."""

import json

import numpy as np
import pytest
import torch

from conceptseg.concepts import ATTRIBUTES, parse_prompt
from conceptseg.transforms import ConceptPromptd

PHOTO = ("right", "bottom")


def two_squares(left: bool = True, right: bool = True) -> dict:
    """Image and label of 24 x 24 with a square at the left and one at the right, mid-height."""
    label = np.zeros((1, 24, 24), dtype=np.float32)
    if left:
        label[0, 2:7, 10:14] = 1
    if right:
        label[0, 17:22, 10:14] = 1
    image = np.random.default_rng(0).random((3, 24, 24)).astype(np.float32)
    return {"image": torch.tensor(image), "label": torch.tensor(label)}


def prompter(mode: str, **changes) -> ConceptPromptd:
    """A transform that always draws one mode and drops nothing."""
    shares = [float(m == mode) for m in ("student", "text", "mixture", "null")]
    options = {"attribute_dropout": 0.0, "contradiction_share": 0.0, "component_share": 0.0}
    options |= {"short_share": 0.0}
    options |= {"directions": PHOTO, "color": True, "mode_shares": shares, "token_share": 0.0}
    transform = ConceptPromptd(["polyp"], **(options | changes))
    transform.set_random_state(0)
    return transform


@pytest.mark.parametrize("mode", ["student", "text", "mixture", "null"])
def test_every_mode_gives_the_documented_shapes(mode):
    data = prompter(mode)(two_squares())
    assert data["mask"].shape == (1, 24, 24) and data["mask"].dtype == torch.float32
    assert data["use_concept_token"].shape == data["faithful"].shape == (1,)
    assert data["attributes"].shape == (1, len(ATTRIBUTES))
    assert data["teacher_share"].shape == data["null"].shape == ()
    assert data["prompt"].startswith("2 ") and "polyps" in data["prompt"]


def test_the_share_of_the_teacher_follows_the_mode():
    shares = {m: float(prompter(m)(two_squares())["teacher_share"]) for m in ("student", "text")}
    assert shares == {"student": 0.0, "text": 1.0}
    mixture = [float(prompter("mixture")(two_squares())["teacher_share"]) for _ in range(1)]
    assert 0 < mixture[0] < 1
    learned = prompter("mixture", learned_noise=True)(two_squares())["teacher_share"]
    assert torch.isnan(learned)
    assert bool(prompter("null")(two_squares())["null"])


@pytest.mark.parametrize("mode", ["student", "mixture", "null"])
def test_outside_text_mode_the_whole_label_is_the_target(mode):
    transform = prompter(mode, component_share=1.0, contradiction_share=1.0)
    data = transform(two_squares())
    assert torch.equal(data["mask"], two_squares()["label"])
    assert bool(data["faithful"].all())


def test_a_component_prompt_restricts_the_target_to_what_it_names():
    transform = prompter("text", component_share=1.0)
    seen = set()
    for _ in range(20):
        data = transform(two_squares())
        place = parse_prompt(data["prompt"], ["polyp"]).concepts.location
        half = data["mask"][0, :12] if place == "left" else data["mask"][0, 12:]
        assert place in ("left", "right")
        assert half.sum() == data["mask"].sum() == 20
        assert not bool(data["faithful"].any())
        seen.add(place)
    assert seen == {"left", "right"}


def test_pairs_keep_the_whole_label_beside_what_the_prompt_names():
    data = prompter("text", component_share=1.0, paired=True)(two_squares())
    assert torch.equal(data["whole_mask"], two_squares()["label"])
    assert data["mask"].sum() == 20 and data["whole_mask"].sum() == 40
    assert "whole_mask" not in prompter("text")(two_squares())


def test_a_contradictory_prompt_names_an_empty_place_and_empties_the_target():
    transform = prompter("text", contradiction_share=1.0)
    for _ in range(20):
        data = transform(two_squares())
        place = parse_prompt(data["prompt"], ["polyp"]).concepts.location
        assert place not in ("left", "right", None)
        assert float(data["mask"].sum()) == 0 and not bool(data["faithful"].any())


def test_in_text_mode_an_absent_label_is_asked_for_as_if_it_were_there():
    data = prompter("text")(two_squares(False, False))
    assert parse_prompt(data["prompt"], ["polyp"]).concepts.number == 1
    assert float(data["mask"].sum()) == 0 and not bool(data["faithful"].any())


def test_in_student_mode_an_absent_label_is_described_truly():
    data = prompter("student")(two_squares(False, False))
    assert data["prompt"] == "0 polyp"
    assert data["attributes"][0, 0] == 0  # number bin "0"
    assert (data["attributes"][0, 1:] == -1).all()


def test_words_stay_true_after_a_flip():
    data = two_squares(right=False)
    assert "in the left of" in prompter("student")(data)["prompt"]
    flipped = {key: value.flip(1) for key, value in data.items()}
    assert "in the right of" in prompter("student")(flipped)["prompt"]


def test_directions_come_from_the_data_for_slices():
    transform = prompter("student", directions=None, color=False)
    data = two_squares(right=False) | {"directions": "right,anterior"}
    assert "in the left of" in transform(data)["prompt"]
    data["directions"] = "left,anterior"
    assert "in the right of" in transform(data)["prompt"]


def test_all_attributes_can_be_left_out_but_never_the_place_that_decides():
    data = prompter("student", attribute_dropout=1.0)(two_squares())
    assert data["prompt"] == "polyp"
    data = prompter("text", attribute_dropout=1.0, component_share=1.0)(two_squares())
    assert parse_prompt(data["prompt"], ["polyp"]).concepts.location in ("left", "right")


def test_tokens_are_asked_for_only_where_there_is_a_region():
    assert bool(prompter("student", token_share=1.0)(two_squares())["use_concept_token"])
    empty = prompter("student", token_share=1.0)(two_squares(False, False))
    assert not bool(empty["use_concept_token"])


def test_one_pixel_and_a_non_square_image_are_described():
    label = torch.zeros(1, 12, 30)
    label[0, 11, 0] = 1
    data = prompter("text")({"image": torch.rand(3, 12, 30), "label": label})
    assert "top right" in data["prompt"] and float(data["mask"].sum()) == 1


def test_the_same_seed_draws_the_same():
    first = [prompter("text", component_share=0.5)(two_squares())["prompt"] for _ in range(3)]
    assert len(set(first)) == 1


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="sum 1, got"):
        ConceptPromptd(["polyp"], mode_shares=(0.5, 0.5, 0.5, 0))


def test_short_prompts_say_the_keyword_or_keyword_and_place_alone():
    transform = prompter("text", short_share=1.0)
    seen = set()
    for present in (True, False) * 15:
        data = transform(two_squares(present, False))
        said = parse_prompt(data["prompt"], ["polyp"]).concepts
        assert said.number is said.shape is said.size is said.color is None
        seen.add((present, said.location is None))
    assert len(seen) == 4


def test_prompts_for_absent_objects_say_as_much_as_for_present_ones():
    transform = prompter("text")
    present, absent = (
        parse_prompt(transform(two_squares(there, False))["prompt"], ["polyp"]).concepts
        for there in (True, False)
    )
    assert set(present.model_dump(exclude_none=True)) == set(absent.model_dump(exclude_none=True))


def test_concepts_an_annotator_corrected_replace_the_measured_ones():
    data = two_squares(right=False)
    said = json.dumps({"polyp": {"shape": "irregular", "location": "right"}})
    transform = ConceptPromptd(
        ["polyp"],
        directions=("right", "bottom"),
        color=True,
        mode_shares=(1, 0, 0, 0),
        attribute_dropout=0.0,
        short_share=0.0,
    )
    told = transform({**data, "corrected_concepts": said})
    assert "irregular" in told["prompt"] and "located in the left" in told["prompt"]
    assert "corrected_concepts" not in told  # cases without it must collate with this one
    empty = transform({**data, "label": 0 * data["label"], "corrected_concepts": said})
    assert "irregular" not in empty["prompt"]
