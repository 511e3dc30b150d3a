"""Sources that ask a model: views, retries, agreement, fusion, provenance."""

import json

import numpy as np
import pytest

from conceptseg.concepts import ConceptSource, MeasuredConcepts
from conceptseg.concepts.asked import FusedConcepts, ModelConcepts, agree, fuse
from conceptseg.concepts.chat import ModelError
from conceptseg.concepts.described import Answer, Description, Value, described
from conceptseg.concepts.descriptors import QUESTIONS, UNCLEAR, paper_questions, questions_of
from conceptseg.concepts.questions import OUTLINE, Question
from conceptseg.concepts.views import view_picture

PHOTO = ("right", "bottom")
LISTS = {"color": ("red", "pink"), "texture": ("smooth", "granular")}


class Parrot:
    """A model that gives prepared answers, one after the other, and remembers what it was asked."""

    name = "parrot"

    def __init__(self, *answers: str | dict) -> None:
        self.answers = [a if isinstance(a, str) else json.dumps(a) for a in answers]
        self.asked: list[tuple] = []

    def ask(self, picture, question, earlier=()) -> str:
        self.asked.append((picture, question, earlier))
        return self.answers[len(self.asked) - 1]

    def enforces_schema(self) -> bool:
        return False


def square() -> tuple[np.ndarray, np.ndarray]:
    """A red square at the left of a gray image of 60 x 40 (x first), RGB in 0..255."""
    mask = np.zeros((60, 40), dtype=bool)
    mask[5:15, 15:25] = True
    image = np.where(mask, np.array([200, 30, 30])[:, None, None], 128).astype(np.uint8)
    return image, mask


def describe(source, **more) -> Description:
    image, mask = square()
    return source.describe(image, mask, "polyp", PHOTO, **more)


def test_all_sources_share_one_interface():
    model = ModelConcepts(Parrot(*[{"color": "red", "texture": "smooth"}] * 4), LISTS)
    image, mask = square()
    for source in (MeasuredConcepts(), model, FusedConcepts(model)):
        assert isinstance(source, ConceptSource)
        assert source(image, mask, "polyp", PHOTO).color == "red"


def test_each_view_is_asked_once_and_agreement_is_confidence():
    parrot = Parrot({"color": "red", "texture": "smooth"}, {"color": "pink", "texture": "smooth"})
    found = describe(ModelConcepts(parrot, LISTS))
    assert [question.view for _, question, _ in parrot.asked] == ["crop", "outline"]
    assert found.values["texture"].value == "smooth" and found.values["texture"].confidence == 1
    color = found.values["color"]
    assert color.value == UNCLEAR and color.confidence == 0.5
    assert color.raw == {"crop": "red", "outline": "pink"}
    assert color.source == "model" and color.model == "parrot" and "+" in color.prompt_hash
    assert found.concepts().color is None and found.descriptors() == {"texture": "smooth"}
    assert [json.loads(a.raw)["color"] for a in found.answers] == ["red", "pink"]


def test_an_invalid_answer_is_told_and_asked_again_and_kept():
    good = {"color": "red", "texture": "smooth"}
    parrot = Parrot("no idea", {"color": "azure", "texture": "smooth"}, good)
    found = describe(ModelConcepts(parrot, LISTS, views=["crop"]))
    assert found.answers[0].rejected == (
        "no idea",
        json.dumps({"color": "azure", "texture": "smooth"}),
    )
    problems = [turn.problem for turn in parrot.asked[2][2]]
    assert "no JSON object" in problems[0] and "color" in problems[1] and "'red'" in problems[1]
    assert found.values["color"].confidence is None  # one view cannot agree with another


def test_after_three_invalid_answers_the_error_quotes_the_last():
    with pytest.raises(ModelError, match=r"in 3 attempts.*'c'"):
        describe(ModelConcepts(Parrot("a", "b", "c"), LISTS))


def test_known_answers_are_not_asked_again_unless_the_question_changed():
    good = {"color": "red", "texture": "smooth"}
    parrot, kept = Parrot(good, good), []
    first = describe(ModelConcepts(parrot, LISTS), keep=kept.append)
    silent = Parrot(good)
    again = describe(ModelConcepts(silent, LISTS), known=kept[:1])
    assert [q.view for _, q, _ in silent.asked] == ["outline"] and again == first
    other = Parrot(good, good)
    describe(ModelConcepts(other, LISTS, allow_unclear=False), known=kept)
    assert len(other.asked) == 2


def test_an_empty_mask_is_not_asked_about():
    image, mask = square()
    for kind in (ModelConcepts, lambda chat, lists: FusedConcepts(ModelConcepts(chat, lists))):
        found = kind(Parrot(), LISTS).describe(image, mask & False, "polyp", PHOTO)
        assert found.concepts().number == 0


def test_fusion_measures_what_the_mask_tells_and_takes_color_from_the_model():
    both = {"color": "pink", "texture": "granular"}
    found = describe(FusedConcepts(ModelConcepts(Parrot(both, both), LISTS)))
    assert {n: v.source for n, v in found.values.items()} == {
        "number": "measured", "location": "measured", "shape": "measured", "size": "measured",
        "color": "model", "texture": "model",
    }  # fmt: skip
    assert found.concepts().location == "left" and found.concepts().color == "pink"


def test_an_unclear_color_leaves_the_measured_one():
    image, mask = square()
    seen = described(MeasuredConcepts()(image, mask, "polyp", PHOTO))
    said = {"color": Value(value=UNCLEAR, source="model")}
    assert fuse(seen, Description(keyword="polyp", values=said)).values["color"].value == "red"


def test_three_views_decide_by_majority():
    answers = [
        Answer(view=v, model="m", prompt_hash="h", raw="", values={"number": n})
        for v, n in (("crop", "many"), ("outline", "many"), ("roi", "1"))
    ]
    value = agree("number", answers)
    assert value.value == 4 and value.confidence == pytest.approx(2 / 3)


@pytest.mark.parametrize("modality", QUESTIONS)
def test_every_modality_asks_a_question_whose_lists_are_distinct(modality):
    lists = questions_of(modality)
    question = Question("region", lists)
    answer = {name: values[0] for name, values in lists.items()}
    assert question.read(json.dumps(answer)) == answer
    assert question.read(json.dumps(dict.fromkeys(lists, UNCLEAR))) == dict.fromkeys(lists, UNCLEAR)
    for values in lists.values():
        assert len(values) == len(set(values)) and all(value in question.text for value in values)


def test_an_answer_may_differ_in_case_but_not_in_keys():
    question = Question("polyp", LISTS, allow_unclear=False)
    assert question.read('{"color": " Red ", "texture": "SMOOTH"}')["color"] == "red"
    for bad in ('{"color": "red"}', '{"color": "red", "texture": "smooth", "size": "big"}'):
        with pytest.raises(ValueError):
            question.read(bad)
    with pytest.raises(ValueError):
        question.read('{"color": "unclear", "texture": "smooth"}')


def test_the_papers_form_asks_five_attributes_of_the_blacked_out_image():
    answer = {"number": "1", "shape": "round", "size": "small", "color": "red", "location": "left"}
    parrot = Parrot(answer)
    found = describe(ModelConcepts(parrot, paper_questions(), ["roi"], allow_unclear=False))
    assert found.concepts().model_dump(exclude_none=True, exclude={"keyword"}) == answer | {
        "number": 1
    }
    _, mask = square()
    shown = np.asarray(parrot.asked[0][0])
    assert shown.shape == (40, 60, 3)
    assert (shown[~mask.T] == 0).all() and (shown[mask.T] == (200, 30, 30)).all()


def test_the_crop_shows_the_region_with_a_margin_on_every_side():
    image, mask = square()
    shown = np.asarray(view_picture(image, mask, PHOTO, "crop", margin=0.2, long_side=140))
    assert shown.shape == (140, 140, 3)  # 10 + 2 * 2 pixels, ten times enlarged
    red = (shown[..., 0] > 180) & (shown[..., 1] < 60)
    assert (
        abs(np.flatnonzero(red.any(0))[0] - 20) <= 3
        and abs(np.flatnonzero(red.any(1))[-1] - 119) <= 3
    )


def test_the_outline_lies_just_outside_and_covers_nothing_of_the_region():
    image, mask = square()
    shown = np.asarray(view_picture(image, mask, PHOTO, "outline"))
    line = (shown == OUTLINE[1]).all(axis=-1)
    assert line.any() and not (line & mask.T).any()
    assert (shown[mask.T] == (200, 30, 30)).all()


def test_a_volume_is_shown_in_the_slice_that_holds_most_with_true_proportions():
    mask = np.zeros((20, 30, 8), dtype=bool)
    mask[5:9, 5:9, 2] = True
    mask[4:12, 4:12, 6] = True
    image = np.zeros((1, 20, 30, 8), dtype=np.float32)
    image[0, ..., 6] = 1000 * mask[..., 6]
    shown = view_picture(image, mask, ("right", "anterior", "superior"), "outline", (2.0, 1.0, 3.0))
    assert shown.size[0] / shown.size[1] == pytest.approx(40 / 30, abs=0.02)
    assert np.asarray(shown).max() == 255


def test_a_region_of_one_pixel_at_the_border_can_be_shown():
    image, mask = square()
    mask[:] = False
    mask[0, 39] = True
    for view in ("crop", "outline", "roi"):
        assert min(view_picture(image, mask, PHOTO, view).size) >= 1


def test_bad_requests_are_refused():
    image, mask = square()
    with pytest.raises(ValueError, match="view"):
        view_picture(image, mask, PHOTO, "aerial")
    with pytest.raises(ValueError, match="empty"):
        view_picture(image, mask & False, PHOTO, "crop")
    with pytest.raises(ValueError, match="view"):
        ModelConcepts(Parrot(), LISTS, views=["aerial"])
    with pytest.raises(ValueError, match="modality"):
        questions_of("aerial")
