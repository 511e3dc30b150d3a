"""Small parts of the benchmark: step counts, plain targets, charts, calibration, CLIPSeg, timing."""

import copy
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmark_matrix import SMALL_CLIPSEG
from ignite.engine import Engine
from torch import nn

from conceptseg.benchmark import budget
from conceptseg.benchmark.budget import StepTimer, steps_of
from conceptseg.benchmark.charts import line_chart
from conceptseg.benchmark.clipseg_baseline import TextPromptedClipSeg
from conceptseg.benchmark.plain_targets import PlainTargetsd
from conceptseg.benchmark.speed import time_networks
from conceptseg.benchmark.tables import markdown, spread
from conceptseg.calibration import error_detection_area
from conceptseg.engines import prepare_concept_batch
from conceptseg.inferer import ConceptInferer
from conceptseg.losses import ConceptSegLoss
from conceptseg.outline import OutlineChoice
from conceptseg.prediction import Prediction
from conceptseg.uncertainty import uncertainty


def test_a_budget_is_divided_into_whole_steps():
    assert steps_of(4000, 16, 5) == (50, 5)
    assert steps_of(100, 16, 20) == (1, 6)  # six steps: a validation after each
    assert steps_of(320, 16, 8) == (2, 10)
    with pytest.raises(ValueError, match="at least one step of 16 images, got 15"):
        steps_of(15, 16, 5)


@pytest.mark.parametrize(("seconds", "steps"), [(1, 10), (20, 40)])
def test_steps_are_timed_for_the_seconds_and_ten_of_them_at_least(monkeypatch, seconds, steps):
    clock = count(step=0.5)  # every step takes half a second
    monkeypatch.setattr(budget, "train_clock", lambda device: next(clock))
    engine = Engine(lambda engine, batch: None)
    engine.state.device = torch.device("cpu")
    timer = StepTimer(seconds)
    timer.attach(engine)
    engine.run(range(StepTimer.most_steps))
    assert timer.seconds_per_step == 0.5
    assert engine.state.iteration == 2 + steps  # the first two are not timed


def test_plain_targets_hold_a_mask_per_label_and_pass_through_the_loss():
    label = torch.zeros(1, 4, 4)
    label[0, 0, 0], label[0, 3, 3] = 1, 2
    item = PlainTargetsd(["a", "b"])({"image": torch.rand(3, 4, 4), "label": label})
    assert item["mask"].shape == (2, 4, 4)
    assert [int(mask.argmax()) for mask in item["mask"]] == [0, 15]
    batch = {k: v[None] if torch.is_tensor(v) else [v] for k, v in item.items()}
    _, targets, _, _ = prepare_concept_batch(batch, "cpu")
    loss = ConceptSegLoss("none", presence_weight=0, map_weight=0, readout_weight=0)
    perfect = {"logits": (targets["mask"] * 2 - 1) * 50, "presence": None, "map": None}
    assert float(loss(perfect, targets)) == pytest.approx(0, abs=1e-4)


def test_failures_found_by_uncertainty():
    dice = {"a": 0.9, "b": 0.8, "c": 0.1, "d": 0.3}
    right = {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.8}
    assert error_detection_area(right, dice) == 1
    assert error_detection_area({k: -v for k, v in right.items()}, dice) == 0
    assert error_detection_area(dict.fromkeys(dice, 0.5), dice) == 0.5
    one_swap = {"a": 0.1, "b": 0.85, "c": 0.9, "d": 0.8}
    assert error_detection_area(one_swap, dice) == pytest.approx(3 / 4)
    assert error_detection_area(right, dict.fromkeys(dice, 0.9)) is None


class _Looks:
    """Inferer that knows one mask for an image as it is and another for any other image."""

    def __init__(self, image, own, other, none=None):
        self.image, self.own, self.other, self.none = image, own, other, none
        self.condition = "text_free"
        self.mirror_axes = (0,)

    def copy(self, **changes):
        copied = copy.copy(self)
        vars(copied).update(changes)
        return copied

    def predict_batch(self, images, network):
        same = torch.equal(images[0], self.image)
        mask = self.none if self.condition == "none" else self.own if same else self.other
        return [Prediction(mask, torch.ones(len(mask)), [], ())]


def _halves():
    """An image, and masks (1, 4, 4) of its left and its right half (the first axis runs to the right)."""
    left = torch.zeros(1, 4, 4)
    left[0, :2] = 1
    return torch.arange(16.0).reshape(1, 4, 4), left, 1 - left


def test_uncertainty_is_what_the_mirrored_image_says_otherwise():
    image, left, right = _halves()
    network = SimpleNamespace(keywords=("a",))
    free = Prediction(left, torch.ones(1), [], ("a",))
    follows, stays = _Looks(image, left, right), _Looks(image, left, left)
    assert uncertainty(image, free, network, follows) == [pytest.approx(0, abs=1e-3)]
    assert uncertainty(image, free, network, stays) == [pytest.approx(1, abs=1e-3)]
    half = torch.zeros(1, 4, 4)
    half[0, 2] = 1  # a mask of 4 pixels inside that of 8: Dice 2 / 3
    assert uncertainty(image, free, network, _Looks(image, left, half)) == [
        pytest.approx(1 / 3, abs=1e-3)
    ]


def test_photographs_are_mirrored_along_both_axes_and_the_opinions_compared():
    image, left, _ = _halves()

    class Flips(_Looks):
        """Sees the left half, unless it is shown the image upside down, then nothing."""

        def predict_batch(self, images, network):
            columns_turned = images[0, 0, 0, 0] % 4 != 0
            rows_turned = images[0, 0, 0, 0] > 3
            mask = torch.flip(left, [1]) if rows_turned else left
            return [Prediction(0 * left if columns_turned else mask, torch.ones(1), [], ())]

    free = Prediction(left, torch.ones(1), [], ())
    network = SimpleNamespace(keywords=("a",))
    looks = Flips(image, left, left)
    assert uncertainty(image, free, network, looks) == [pytest.approx(0, abs=1e-3)]
    looks.mirror_axes = (0, 1)  # one of three opinions agrees, and of these one of three pairs
    assert uncertainty(image, free, network, looks) == [pytest.approx(4 / 3, abs=1e-3)]


def test_doubtful_presence_adds_to_the_uncertainty_of_agreeing_masks():
    image, left, _ = _halves()
    empty = 0 * left
    free = Prediction(empty, torch.tensor([0.5]), [], ())
    values = uncertainty(image, free, SimpleNamespace(keywords=("a",)), _Looks(image, empty, empty))
    assert values == [pytest.approx(1, abs=1e-3)]


def test_labels_of_one_side_are_not_mirrored():
    image, left, right = _halves()
    looks = _Looks(image, left, left, none=left)
    free = Prediction(left, torch.ones(1), [], ())
    sided = SimpleNamespace(keywords=("left lung",))
    assert uncertainty(image, free, sided, looks) == [pytest.approx(0, abs=1e-3)]
    looks.none = right
    assert uncertainty(image, free, sided, looks) == [pytest.approx(1, abs=1e-3)]
    looks.mirror_axes = ()  # trained without mirroring
    network = SimpleNamespace(keywords=("a",))
    assert uncertainty(image, free, network, looks) == [pytest.approx(1, abs=1e-3)]


def test_a_chart_has_a_line_per_series_and_escapes_names():
    chart = line_chart({"a<b": [(1, 0.5), (2, 0.7)], "left_out": [], "one": [(1, 0.5)]}, "x", "y")
    assert chart.count("<polyline") == 2 and "a&lt;b" in chart and "left_out" not in chart
    assert line_chart({}, "x", "y") == ""
    assert "10 %" in line_chart({"a": [(-1, 0.5), (0, 0.6)]}, "x", "y", {-1: "10 %", 0: "100 %"})


def test_markdown_rows_and_spreads():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    assert spread([0.5, 0.7]) == "0.600 (0.500 to 0.700)"
    assert (spread([0.5]), spread([])) == ("0.500", "n/a")


def clipseg(in_channels=3):
    torch.manual_seed(0)
    return TextPromptedClipSeg(["polyp", "ulcer"], in_channels, SMALL_CLIPSEG)


def test_clipseg_gives_a_mask_per_label_also_for_slices_of_any_shape():
    assert clipseg()(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)
    assert clipseg(5)(torch.rand(1, 5, 24, 40)).shape == (1, 3, 24, 40)


def test_clipseg_obeys_the_sentence_and_says_the_keyword_without_one():
    network = clipseg().eval()
    nn.init.normal_(network.decoder.decoder.film_mul.weight, std=1.0)
    inferer, image = ConceptInferer(), torch.rand(3, 32, 32)
    encoded = inferer.encode(image, network)
    free = inferer.decode(encoded, network).probabilities
    named = inferer.decode(encoded, network, prompt="polyp, ulcer").probabilities
    placed = inferer.decode(
        encoded, network, prompt="small red polyp in the top left"
    ).probabilities
    assert torch.allclose(free[0], named[0], atol=1e-5)
    assert not torch.allclose(free[0], placed[0], atol=1e-3)
    assert placed[1].max() == 0  # not asked for


def test_clipseg_learns_to_follow_the_sentence():
    """One image, two discs: the sentence decides which of them is meant."""
    network = clipseg()
    image = torch.full((1, 3, 32, 32), 0.4)
    masks = torch.zeros(2, 1, 2, 32, 32)
    masks[0, 0, :, 4:12, 12:20] = 1
    masks[1, 0, :, 20:28, 12:20] = 1
    image[:, :, 4:12, 12:20] = image[:, :, 20:28, 12:20] = 0.9
    sides = [
        "\n".join(f"{k}, located in the {s} of the image" for k in network.keywords)
        for s in ("left", "right")
    ]
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    loss = ConceptSegLoss("none", presence_weight=0, map_weight=0, readout_weight=0)
    for _ in range(200):
        targets = {"prompt": sides, "mask": masks.flatten(0, 1), "faithful": torch.ones(2, 2)}
        targets["attributes"] = torch.full((2, 2, 8), -1)
        optimizer.zero_grad()
        loss(network(image.expand(2, -1, -1, -1), targets), targets).backward()
        optimizer.step()
    found = network(image.expand(2, -1, -1, -1), {"prompt": sides})["logits"][:, 0] > 0
    left, right = slice(4, 12), slice(20, 28)
    shares = [[float(mask[side, 12:20].float().mean()) for side in (left, right)] for mask in found]
    assert shares[0][0] > shares[0][1] and shares[1][1] > shares[1][0]


def test_times_are_relative_to_the_reference():
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(20):
                x = x @ x
            return x

    image = torch.rand(1, 1, 256, 256) / 256
    found = time_networks({"unet": nn.Identity(), "slow": Slow()}, image, rounds=5)
    assert found["ratio"]["unet"] == 1
    assert found["ratio"]["slow"] > 2
    assert found["parameters"] == {"unet": 0, "slow": 0}
    assert np.isfinite(found["milliseconds"]["slow"])


def test_the_dice_that_an_outline_choice_expects_adds_to_the_uncertainty_of_drawn_images():
    image, left, _ = _halves()
    outline = OutlineChoice()
    network = SimpleNamespace(keywords=("a", "b"), outline=outline)
    both = torch.cat([left, 0 * left])  # the second label is not drawn
    free = Prediction(both, torch.ones(2), [], ())
    looks = _Looks(image, both, torch.flip(both, [1]))
    nothing = [pytest.approx(0, abs=1e-3)] * 2
    assert uncertainty(image, free, network, looks) == nothing  # not trained
    outline.weight[-1] = 0.7
    assert uncertainty(image, free, network, looks) == [pytest.approx(0.3, abs=1e-3), nothing[1]]
    outline.weight[-1] = 1.4  # a linear function knows no bounds
    assert uncertainty(image, free, network, looks) == nothing
    outline.weight[-1] = 0.7
    volumes = both.unsqueeze(-1)
    free = Prediction(volumes, torch.ones(2), [], ())
    looks = _Looks(image.unsqueeze(-1), volumes, torch.flip(volumes, [1]))
    assert uncertainty(image.unsqueeze(-1), free, network, looks) == nothing
