"""ConceptSegNet: shapes, switches, what the text-free path may touch, and learning."""

import numpy as np
import pytest
import torch
from monai.data import list_data_collate
from monai.networks.utils import eval_mode
from small_network import discs, small_network, targets
from torch import nn

from conceptseg.engines import prepare_concept_batch
from conceptseg.inferer import ConceptInferer
from conceptseg.losses import ConceptSegLoss
from conceptseg.network import ABSENT_LOGIT, with_background
from conceptseg.transforms import ConceptPromptd

TWO = ("anterior hippocampus", "posterior hippocampus")


class Refusing(nn.Module):
    """A module that must not be called."""

    def forward(self, *args, **kwargs):
        raise AssertionError("called")


@pytest.fixture(autouse=True)
def _seed(fixed_seed):
    """Every test starts from the same random state."""


@pytest.mark.parametrize("shape", [(1, 3, 24, 24), (2, 3, 16, 32), (1, 3, 8, 8)])
def test_text_free_logits_have_background_first(shape):
    net = small_network(TWO).eval()
    logits = net(torch.rand(shape))
    assert logits.shape == (shape[0], 3, *shape[2:])
    assert torch.equal(logits[:, 0], -logits[:, 1:].amax(dim=1))


def test_volumes_give_volumes_slice_by_slice():
    net = small_network(TWO, in_channels=5).eval()
    volume = torch.rand(1, 1, 7, 9, 6)
    logits = net(volume)
    assert logits.shape == (1, 3, 7, 9, 6)
    changed = volume.clone()
    changed[..., 0] += 1
    difference = (net(changed) - logits).abs().amax(dim=(0, 1, 2, 3))
    assert (difference[:3] > 0).all() and (difference[3:] == 0).all()  # context reaches two slices


def test_text_free_path_calls_neither_text_encoder_nor_mapper():
    net = small_network().eval()
    expected = net(torch.ones(1, 3, 16, 16))
    net.text_encoder, net.mapper = Refusing(), Refusing()
    assert torch.equal(net(torch.ones(1, 3, 16, 16)), expected)


def test_image_of_wrong_channels_or_size_is_refused():
    net = small_network()
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\), got shape \(1, 1, 16, 16\)"):
        net(torch.rand(1, 1, 16, 16))
    with pytest.raises(ValueError, match="multiples of 4, got"):
        net(torch.rand(1, 3, 15, 16))


def test_students_of_different_keywords_differ():
    student = small_network(TWO).encode_image(torch.rand(2, 3, 16, 16)).student
    assert student.shape == (2, 2, 24)
    assert (student[:, 0] - student[:, 1]).abs().max() > 0.1


def test_without_keyword_conditioning_one_student_serves_all():
    student = small_network(TWO, keyword_conditioned=False).encode_image(torch.rand(1, 3, 8, 8))
    assert torch.equal(student.student[:, 0], student.student[:, 1])


def test_absent_labels_are_emptied_and_present_ones_untouched():
    net = small_network(TWO)
    logits = torch.rand(1, 2, 4, 4)
    gated = net.gate(logits, torch.tensor([[-0.1, 0.1]]))
    assert (gated[:, 0] == ABSENT_LOGIT).all() and torch.equal(gated[:, 1], logits[:, 1])


def test_background_wins_exactly_where_no_label_reaches_one_half():
    logits = torch.tensor([[[-1.0, 2.0, 0.5]], [[-2.0, 1.0, 3.0]]])[None]
    assert with_background(logits).argmax(dim=1).tolist() == [[[0, 1, 2]]]


def test_the_prompt_changes_the_teacher_and_so_does_the_region():
    net = small_network().eval()
    image = torch.rand(1, 3, 16, 16)
    masks = torch.zeros(2, 1, 16, 16)
    masks[0, 0, :4, :4] = masks[1, 0, 10:, 10:] = 1
    first, second = (
        net.encode_teacher(image, targets(masks=m[None])) for m in (masks[0], masks[1])
    )
    assert (first - second).abs().max() > 1e-3
    other = targets(masks=masks[:1], prompt=["2 large polyps"])
    assert (net.encode_teacher(image, other) - first).abs().max() > 1e-3


def test_an_empty_region_carries_no_concept_token():
    net = small_network().eval()
    image, empty = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    plain = net.encode_prompts(["1 polyp"])
    assert torch.allclose(net.encode_teacher(image, targets(masks=empty))[0], plain, atol=1e-6)


def test_without_real_text_the_sentence_does_not_matter():
    net = small_network(real_text=False, concept_tokens=0).eval()
    masks = torch.ones(1, 1, 8, 8)
    first = net.encode_teacher(torch.rand(1, 3, 8, 8), targets(masks=masks))
    second = net.encode_teacher(
        torch.rand(1, 3, 8, 8), targets(masks=masks, prompt=["2 large polyps"])
    )
    assert torch.equal(first, second)


def test_roi_tokens_need_a_mapper():
    with pytest.raises(ValueError, match="concept_tokens > 0"):
        small_network(concept_tokens=0).encode_roi(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"real_text": False},
        {"concept_tokens": 0},
        {"concept_tokens": 3},
        {"keyword_conditioned": False},
        {"presence": False},
        {"skip": False},
        {"map_size": 0},
    ],
)
@pytest.mark.parametrize("distillation", ["cosine", "none"])
def test_every_switch_trains_one_step_and_predicts(switches, distillation):
    net = small_network(TWO, **switches)
    masks = (torch.rand(2, 2, 16, 16) > 0.5).float()
    wanted = targets(TWO, masks, share=0.5)
    loss = ConceptSegLoss(distillation)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    image = torch.rand(2, 3, 16, 16)
    before = float(loss(net(image, wanted), wanted))
    for _ in range(5):
        optimizer.zero_grad()
        value = loss(net(image, wanted), wanted)
        value.backward()
        optimizer.step()
    assert float(loss(net(image, wanted), wanted)) < before
    with eval_mode(net):
        assert net(image).shape == (2, 3, 16, 16)


def test_a_null_condition_sees_neither_student_nor_teacher():
    net = small_network()
    masks = torch.ones(1, 1, 16, 16)
    wanted = targets(masks=masks, null=torch.ones(1, dtype=torch.bool))
    net(torch.rand(1, 3, 16, 16), wanted)["logits"].sum().backward()
    assert net.null_embedding.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.abs().sum() for p in net.text_encoder.parameters())


def test_pairs_decode_the_student_first_and_the_prompt_beside_it():
    net = small_network(TWO).eval()
    image, masks = torch.rand(2, 3, 16, 16), torch.zeros(2, 2, 16, 16)
    whole = torch.ones(2, 2, 16, 16)
    text = targets(TWO, masks, share=1.0)
    alone = net(image, targets(TWO, masks))
    guided = net(image, text)
    both = net(image, text | {"whole_mask": whole})
    assert torch.allclose(
        both["logits"], torch.cat([alone["logits"], guided["logits"]], 1), atol=1e-5
    )
    assert torch.equal(both["mask"], torch.cat([whole, masks], 1))
    assert both["presence"].shape == both["map"].shape[:2] == (2, 4)
    loss = ConceptSegLoss()
    parts = [both, alone | {"mask": whole}, guided]
    for outputs in parts:
        loss(outputs, text)
    of_both, of_student, of_prompt = (outputs["losses"]["bce"] for outputs in parts)
    assert float(of_both) == pytest.approx(float(of_student + of_prompt) / 2, rel=1e-5)


@pytest.fixture(scope="module")
def trained():
    """A network trained for 300 steps on one or two discs, with and without prompts."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    net = small_network(channels=(12, 16, 24))
    prompts = ConceptPromptd(
        ["polyp"],
        directions=("right", "bottom"),
        color=True,
        mode_shares=(0.2, 0.8, 0, 0),
        token_share=0,
        attribute_dropout=0.1,
        component_share=0.6,
        contradiction_share=0.3,
    )
    prompts.set_random_state(0)
    loss = ConceptSegLoss(map_weight=1.0)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=300)
    both = ("left", "right")
    sides = (both, ("left",), both, ("right",), both, ())
    for _ in range(300):
        items = []
        for i in range(12):
            image, label = discs(random, sides=sides[i % 6])
            items.append(prompts({"image": image, "label": label}))
        image, wanted, _, more = prepare_concept_batch(list_data_collate(items), "cpu")
        optimizer.zero_grad()
        loss(net(image, **more), wanted).backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """Dice of two boolean masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_a_short_training_segments_text_free(trained):
    random = np.random.default_rng(7)
    scores = []
    for _ in range(5):
        image, label = discs(random)
        scores.append(dice(trained(image[None]).argmax(1)[0] > 0, label[0] > 0))
    assert np.mean(scores) > 0.85


def test_an_image_without_an_object_stays_empty_and_says_absent(trained):
    image, _ = discs(np.random.default_rng(8), sides=())
    prediction = ConceptInferer().predict_batch(image[None], trained)[0]
    assert float(prediction.presence) < 0.5
    assert not (prediction.probabilities > 0.5).any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_location_prompt_keeps_the_object_asked_for(trained, side):
    random = np.random.default_rng(9)
    kept, other = 0.0, 0.0
    for _ in range(5):
        image, label = discs(random)
        inferer = ConceptInferer(prompt=f"polyp, located in the {side} of the image")
        mask = inferer(image[None], trained)[0].argmax(0) > 0
        asked = label[0] > 0
        half = torch.zeros_like(asked)
        half[:12] = True
        asked_half = half if side == "left" else ~half
        kept += float((mask & asked & asked_half).sum() / (asked & asked_half).sum()) / 5
        other += float((mask & asked & ~asked_half).sum() / (asked & ~asked_half).sum()) / 5
    assert kept > 0.7 and other < 0.3


def test_the_keyword_alone_asks_for_every_object(trained):
    random = np.random.default_rng(10)
    scores = []
    for _ in range(5):
        image, label = discs(random)
        mask = ConceptInferer(prompt="polyp")(image[None], trained)[0].argmax(0) > 0
        scores.append(dice(mask, label[0] > 0))
    assert np.mean(scores) > 0.8


def test_a_prompt_for_an_empty_place_leaves_the_object_elsewhere_and_is_remarked_on(trained):
    random = np.random.default_rng(11)
    drawn, objects = 0.0, 0.0
    for side, other in (("left", "right"), ("right", "left")) * 4:
        image, label = discs(random, sides=(side,))
        inferer = ConceptInferer(prompt=f"polyp in the {other}")
        prediction = inferer.predict_batch(image[None], trained)[0]
        assert prediction.warnings
        drawn += float(((prediction.probabilities > 0.5) & (label > 0)).sum())
        objects += float(label.sum())
    assert drawn < 0.1 * objects


def test_masks_are_emptied_below_the_presence_threshold():
    net = small_network(TWO, presence_threshold=0.8)
    logits = torch.ones(1, 2, 4, 4)
    presence = torch.logit(torch.tensor([[0.79, 0.81]]))
    gated = net.gate(logits, presence)
    assert (gated[0, 0] < -10).all() and (gated[0, 1] == 1).all()
    with pytest.raises(ValueError, match=r"presence_threshold in 0\.\.1, got 80"):
        small_network(presence_threshold=80)


def test_the_largest_mask_logits_count_for_presence():
    net = small_network().eval()
    encoding = net.encode_image(torch.rand(1, 3, 16, 16))
    logits, presence = net.decode(encoding, net.condition(encoding))
    evidence = logits.flatten().sort().values[-4:].mean()
    nn.init.zeros_(net.presence[2].weight)
    nn.init.constant_(net.presence[2].bias, 0.5)
    assert torch.allclose(net.decode(encoding, net.condition(encoding))[1], evidence + 0.5)
    assert presence.shape == (1, 1)
