"""Prompt analyses with networks whose behaviour is known: one obeys, one ignores, one invents."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose

from conceptseg.backbones import BackboneOutput
from conceptseg.benchmark.absence import absent_class, beside
from conceptseg.benchmark.analyses import (
    summarize_absence,
    summarize_robustness,
    summarize_sensitivity,
)
from conceptseg.benchmark.asking import ask
from conceptseg.benchmark.conditions import predict_conditions
from conceptseg.benchmark.robustness import VARIANTS, empty_place, misspell, prompt_robustness
from conceptseg.benchmark.sensitivity import prompt_sensitivity
from conceptseg.benchmark.testing import TestCase as Case
from conceptseg.benchmark.testing import Tester
from conceptseg.benchmark.two_objects import composed_cases, natural_cases
from conceptseg.concepts import parse_prompt
from conceptseg.inferer import ConceptInferer
from conceptseg.plain import PlainReadout
from conceptseg.prediction import ImageEncoding

SIZE = 48
COLUMNS = {"left": 0, "center": 1, "right": 2}


class StubNetwork(torch.nn.Module):
    """Finds what is red. With `obeys`, only in the column of the 3 x 3 grid that the sentence names;
    with `invents`, a square in the middle as well."""

    presence_threshold = 0.5

    def __init__(self, obeys: bool = True, invents: bool = False) -> None:
        super().__init__()
        self.keywords = ("polyp",)
        self.obeys, self.invents = obeys, invents
        self.backbone = type("Backbone", (), {"in_channels": 3, "divisor": 8})()
        self.readout = PlainReadout()
        self.descriptors: dict = {}

    def encode_image(self, image):
        found = (image[:, :1] > 0.6) & (image[:, 1:2] < 0.4)
        if self.invents:
            middle = slice(SIZE // 2 - 4, SIZE // 2 + 4)
            found[:, :, middle, middle] = True
        student = torch.full((len(image), 1, 1), -1.0)
        return ImageEncoding(BackboneOutput(student[:, 0], [found.float()]), student)

    def encode_prompts(self, prompts):
        places = [parse_prompt(p, self.keywords).concepts.location or "" for p in prompts]
        said = [[COLUMNS[w] for w in p.split() if w in COLUMNS] for p in places]
        return torch.tensor([[float(columns[0]) if columns else -1.0] for columns in said])

    def condition(self, encoding, teacher=None, share=None):
        return encoding.student if teacher is None else teacher

    null_condition = condition

    def decode(self, encoding, condition):
        found = encoding.backbone.features[0].clone()
        column = int(condition[0, 0, 0])
        if self.obeys and column >= 0:
            third = SIZE // 3
            keep = torch.zeros_like(found)
            keep[:, :, column * third : (column + 1) * third] = 1
            found = found * keep
        present = (found.amax(dim=(2, 3)) * 2 - 1) * 10
        return (found * 2 - 1) * 10, present

    def gate(self, logits, presence):
        return logits

    def absent(self, presence):
        return presence < 0


def tester(**behaviour) -> Tester:
    """A tester around the stub."""
    post = Compose([AsDiscreted(keys="text_free", argmax=True)])
    network = StubNetwork(**behaviour)
    return Tester(network, ConceptInferer(), [], post, ("text_free",), torch.device("cpu"))


def photo(name: str, *centres: tuple[int, int], radius: int = 5) -> Case:
    """Red discs on grey; x grows to the right and comes first."""
    x, y = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), bool)
    for a, b in centres:
        mask |= (x - a) ** 2 + (y - b) ** 2 < radius**2
    image = np.where(mask, [[[0.8]], [[0.2]], [[0.2]]], 0.5).astype(np.float32)
    label = torch.as_tensor(mask[None].astype(np.float32))
    return Case(name, MetaTensor(torch.as_tensor(image)), label)


LEFT, RIGHT, MIDDLE = (8, 24), (40, 24), (24, 24)
TWO = [photo("two", LEFT, RIGHT), photo("one", LEFT), photo("other", RIGHT)]


def test_only_images_with_objects_in_two_places_are_natural_cases():
    same_place = photo("close", (4, 24), (13, 24), radius=4)
    found = natural_cases([*TWO, same_place], 1, "polyp")
    assert [case.name for case in found] == ["two"]


def test_composites_hold_both_objects_in_image_and_label():
    cases = composed_cases(TWO[1:], 1, "polyp", wanted=2)
    assert {case.name for case in cases} == {"one+other", "other+one"}
    for case in cases:
        assert torch.equal(case.label > 0, TWO[0].label > 0)
        assert torch.allclose(case.image.as_tensor(), TWO[0].image.as_tensor(), atol=0.01)


def test_composites_are_the_same_every_time_and_need_different_places():
    many = [photo(str(i), (8 + i % 2 * 32, 16 + i)) for i in range(8)]
    names = [case.name for case in composed_cases(many, 1, "polyp", wanted=5)]
    assert len(names) == 5
    assert names == [case.name for case in composed_cases(many, 1, "polyp", wanted=5)]
    assert composed_cases([photo("a", LEFT), photo("b", LEFT)], 1, "polyp") == []


@pytest.mark.parametrize(("obeys", "share"), [(True, 1.0), (False, 0.0)])
def test_sensitivity_is_one_for_a_network_that_obeys_and_zero_for_one_that_ignores(obeys, share):
    rows = prompt_sensitivity(tester(obeys=obeys), TWO)
    summary = summarize_sensitivity(rows)
    assert summary["pairs"] == 3  # one natural, two composed
    assert (summary["all"], summary["natural"], summary["composed"]) == (share,) * 3
    assert summary["as_served"] == 1  # the inferer removes what lies elsewhere


def test_volumes_have_no_place_to_ask_for():
    volume = Case("v", MetaTensor(torch.rand(1, 8, 8, 8)), torch.zeros(1, 8, 8, 8))
    assert prompt_sensitivity(tester(), [volume]) == []
    assert summarize_sensitivity([])["all"] is None


def test_the_part_beside_an_object_is_the_largest_one_without_it():
    case = photo("one", LEFT)
    part = beside(case.image, np.asarray(case.label)[0] > 0)
    assert part.shape == case.image.shape  # scaled up
    assert (part[0] < 0.6).all()
    assert beside(case.image, np.ones((SIZE, SIZE), bool)) is None


def test_absent_objects_are_kept_absent_or_invented():
    cases = [photo("one", LEFT), photo("empty")]
    silent = summarize_absence(absent_class(tester(), cases))
    assert (silent["guided"], silent["text_free"], silent["images"]) == (1, 1, 2)
    loud = summarize_absence(absent_class(tester(invents=True), cases))
    assert (loud["text_free"], loud["keyword"], loud["keyword_empty"]) == (0, 0, 0)


def test_robustness_rows_of_a_network_that_obeys():
    cases = [photo("one", LEFT), photo("other", RIGHT), photo("empty")]
    summary = summarize_robustness(prompt_robustness(tester(), cases))
    assert set(summary) == {"text_free", *VARIANTS}
    assert all(entry["n"] == 2 for entry in summary.values())
    for name in ("text_free", "original", "shortened", "over_long", "location_missing", "misspelt"):
        assert summary[name]["dice"] == pytest.approx(1), name
    assert summary["contradictory"]["dice"] == 0
    assert summary["contradictory"]["flagged"] == 1  # presence says that nothing is there
    assert summary["misspelt"]["refused"] == 1
    assert summary["over_long"]["refused"] == 0


def test_a_contradiction_that_the_network_ignores_is_flagged_by_the_place_alone():
    ignoring = tester(obeys=False)
    summary = summarize_robustness(prompt_robustness(ignoring, [photo("one", LEFT)]))
    assert (summary["contradictory"]["dice"], summary["contradictory"]["flagged"]) == (0, 1)
    ignoring.inferer.keep_to_place = False
    summary = summarize_robustness(prompt_robustness(ignoring, [photo("one", LEFT)]))
    assert summary["contradictory"]["dice"] == pytest.approx(1)
    assert summary["contradictory"]["flagged"] == 0


def test_the_empty_place_named_lies_opposite():
    case = photo("one", (8, 8))
    assert empty_place(case.image, np.asarray(case.label)[0] > 0, "polyp") == "bottom right"
    assert empty_place(case.image, np.ones((SIZE, SIZE), bool), "polyp") is None


def test_misspelling_changes_longer_words_only():
    assert misspell("1 red polyp, located in the left") == "1 red polyp, lcoated in the lfet"


def test_a_refused_prompt_is_answered_without_its_unknown_words():
    asked = tester()
    encoded = asked.inferer.encode(TWO[0].image, asked.network)
    answer = ask(asked, encoded, "polyp", "lfet polyp on the right")
    assert answer.refused and answer.warned
    assert answer.mask[40, 24] and not answer.mask[8, 24]
    nonsense = ask(asked, encoded, "polyp", "qwertz")
    assert nonsense.refused and nonsense.mask[40, 24] and nonsense.mask[8, 24]


def test_conditions_differ_in_what_is_said():
    asked, case = tester(), TWO[1]
    names = ("text_free", "text_guided_location", "text_guided_keyword", "text_guided_oracle")
    both = case.image.clone()
    both[:, 35:45, 19:29] = torch.tensor([0.8, 0.2, 0.2])[:, None, None]  # not in the reference
    found = predict_conditions(both, case.label, asked.network, asked.inferer, names)
    seen = {name: bool(p.probabilities[0, 40, 24] > 0.5) for name, p in found.items()}
    assert seen == {
        "text_free": True,
        "text_guided_location": False,
        "text_guided_keyword": True,
        "text_guided_oracle": False,
    }
