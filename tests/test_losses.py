"""ConceptSegLoss: each part against an independent computation, and what it must not depend on."""

import numpy as np
import pytest
import torch
from small_network import small_network, targets

from conceptseg.losses import ConceptSegLoss


def outputs(mask: torch.Tensor, **changes) -> dict:
    """A perfect training output for `mask` (B, K, H, W) without presence, map and read-out."""
    shape = (*mask.shape[:2], 4)
    return {
        "logits": (2 * mask - 1) * 40,
        "presence": None,
        "map": None,
        "student": torch.eye(4)[0].expand(shape),
        "teacher": torch.eye(4)[0].expand(shape),
    } | changes


def loss_parts(output: dict, wanted: dict, **settings) -> dict[str, float]:
    """Total and parts of the loss without the read-out."""
    total = ConceptSegLoss(readout_weight=0, **settings)(output, wanted)
    parts = {name: float(value) for name, value in output["losses"].items()}
    assert float(total) == pytest.approx(sum(parts.values()), abs=1e-6)
    return parts


@pytest.fixture
def mask():
    """Two images of two labels, the left half of each and for the second nothing."""
    mask = torch.zeros(2, 2, 8, 6)
    mask[:, 0, :4] = 1
    return mask


def test_a_perfect_output_costs_nothing(mask):
    parts = loss_parts(outputs(mask), targets("ab", mask))
    assert set(parts) == {"dice", "bce", "distillation"}
    assert all(value == pytest.approx(0, abs=1e-5) for value in parts.values())


def test_half_a_mask_costs_what_arithmetic_says(mask):
    logits = (2 * mask - 1) * 40
    logits[:, 0, :2] = -40  # half of the object is missed: Dice 2/3; 2 of 8 rows at cost 40
    parts = loss_parts(outputs(mask, logits=logits), targets("ab", mask))
    assert parts["bce"] == pytest.approx(40 * (2 / 8) / 2, rel=1e-4)
    assert parts["dice"] == pytest.approx((1 / 3 + 0) / 2, abs=1e-4)


def test_distillation_counts_only_prompts_of_the_whole_label(mask):
    teacher = torch.eye(4)[torch.tensor([[0, 1], [1, 1]])]  # distances 0, 1, 1, 1 from the student
    wanted = targets("ab", mask, faithful=torch.tensor([[True, True], [True, False]]))
    parts = loss_parts(outputs(mask, teacher=teacher), wanted, distillation_weight=3)
    assert parts["distillation"] == pytest.approx(3 * 2 / 3)
    nothing = targets("ab", mask, faithful=torch.zeros(2, 2, dtype=torch.bool))
    assert loss_parts(outputs(mask, teacher=teacher), nothing)["distillation"] == 0


def test_presence_is_cross_entropy_on_whether_the_mask_is_empty(mask):
    presence = torch.tensor([[2.0, 2.0], [2.0, -3.0]])  # present, absent; present, absent
    parts = loss_parts(outputs(mask, presence=presence), targets("ab", mask), presence_weight=0.5)
    expected = [
        np.log1p(np.exp(-2)),
        np.log1p(np.exp(2)),
        np.log1p(np.exp(-2)),
        np.log1p(np.exp(-3)),
    ]
    assert parts["presence"] == pytest.approx(0.5 * np.mean(expected))


def test_map_is_compared_with_the_cells_that_hold_the_object():
    one_pixel = torch.zeros(1, 1, 8, 8)
    one_pixel[0, 0, 7, 0] = 1
    right = torch.full((1, 1, 2, 2), -30.0)
    right[0, 0, 1, 0] = 30
    wrong = right.flip(2)
    wanted = targets("a", one_pixel)
    assert loss_parts(outputs(one_pixel, map=right), wanted)["map"] == pytest.approx(0, abs=1e-6)
    parts = loss_parts(outputs(one_pixel, map=wrong), wanted, map_weight=1)
    assert parts["map"] == pytest.approx(30 * 2 / 4)


def test_readout_of_the_prompt_counts_only_where_it_describes_the_whole_label(mask):
    attributes = torch.full((2, 2, 1), 1)
    sure_of_0 = [torch.tensor([10.0, 0.0]).expand(2, 2, 2)]
    sure_of_1 = [torch.tensor([0.0, 10.0]).expand(2, 2, 2)]
    loss = ConceptSegLoss(readout_weight=1)
    for faithful, expected in ((True, 10.0), (False, 0.0)):
        wanted = targets("ab", mask, attributes=attributes, faithful=torch.full((2, 2), faithful))
        output = outputs(mask, readout_student=sure_of_1, readout_teacher=sure_of_0)
        loss(output, wanted)
        assert float(output["losses"]["readout"]) == pytest.approx(expected, abs=1e-3)


def test_parts_switched_off_are_absent(mask):
    output = outputs(mask, presence=torch.zeros(2, 2), map=torch.zeros(2, 2, 2, 2))
    settings = {"distillation": "none", "presence_weight": 0, "map_weight": 0}
    assert set(loss_parts(output, targets("ab", mask), **settings)) == {"dice", "bce"}


def test_empty_masks_give_a_finite_loss_with_a_gradient():
    empty = torch.zeros(1, 1, 4, 4)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = ConceptSegLoss(readout_weight=0)(outputs(empty, logits=logits), targets("a", empty))
    loss.backward()
    assert torch.isfinite(loss) and (logits.grad > 0).all()


def test_reported_parts_hold_no_graph(mask):
    logits = torch.zeros(2, 2, 8, 6, requires_grad=True)
    output = outputs(mask, logits=logits)
    ConceptSegLoss(readout_weight=0)(output, targets("ab", mask))
    assert not any(value.requires_grad for value in output["losses"].values())


@pytest.mark.parametrize("kind", ["cosine", "l2", "kl"])
def test_offset_and_scale_of_raw_embeddings_cannot_change_the_loss(fixed_seed, kind):
    net = small_network(concept_tokens=0)
    image, masks = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    wanted = targets(masks=masks)
    loss = ConceptSegLoss(kind, presence_weight=0, map_weight=0, readout_weight=0)

    def distance() -> float:
        output = net(image, wanted)
        loss(output, wanted)
        return float(output["losses"]["distillation"])

    before = distance()
    with torch.no_grad():
        for layer in (net.student.layers[-1], net.text_encoder.projection[-1]):
            layer.weight *= 7
            layer.bias *= 7
            layer.bias += 5
    assert distance() == pytest.approx(before, rel=1e-3)
    with torch.no_grad():
        net.student.layers[-1].bias += torch.linspace(-20, 20, 24)  # a change of direction does
    assert abs(distance() - before) > 1e-3 * abs(before)


def test_another_distillation_is_refused():
    with pytest.raises(ValueError, match="expected a distillation kind"):
        ConceptSegLoss("mse")


def test_coarser_masks_are_compared_with_the_mean_of_the_mask_and_count_less_and_less(mask):
    exact = (2 * torch.nn.functional.avg_pool2d(mask, 2) - 1) * 40
    wanted = targets("ab", mask)
    parts = loss_parts(outputs(mask, sides=[exact]), wanted)
    assert parts["sides"] == pytest.approx(0, abs=1e-3)
    wrong = torch.zeros(2, 2, 4, 3)  # an even chance everywhere
    one = loss_parts(outputs(mask, sides=[wrong]), wanted)["sides"]
    # cross-entropy ln 2 everywhere; Dice of label 1: 1 - 12 / (12 + 24), of label 2, which is absent: 1
    dice = (1 - 12 / 24 + 1) / 2
    assert one == pytest.approx(0.5 * (np.log(2) + dice), rel=1e-4)
    two = loss_parts(outputs(mask, sides=[exact, wrong]), wanted)["sides"]
    assert two == pytest.approx(one / 2, abs=1e-3)
    assert loss_parts(outputs(mask, sides=[wrong]), wanted, side_weight=0)["sides"] == 0
    assert "sides" not in loss_parts(outputs(mask, sides=[]), wanted)
    border = torch.zeros(1, 1, 8, 6)
    border[:, :, :3] = 1  # a cell of the second row is half covered
    soft = torch.tensor([40.0, 0, -40, -40]).view(1, 1, 4, 1).expand(1, 1, 4, 3)
    parts = loss_parts(outputs(border, sides=[soft]), targets("a", border))
    assert parts["sides"] == pytest.approx(0.5 * np.log(2) / 4, rel=1e-3)  # Dice is perfect
