"""The choice of an outline: what it learns, what it moves, and what it leaves alone."""

from types import SimpleNamespace

import pytest
import torch
from small_network import small_network, targets

from conceptseg.inferer import ConceptInferer
from conceptseg.losses import ConceptSegLoss
from conceptseg.outline import OFFSETS, OutlineChoice, best_masks, expected_dice
from conceptseg.plain import PlainSegNet

TWO = ("anterior hippocampus", "posterior hippocampus")


@pytest.fixture(autouse=True)
def _seed(fixed_seed):
    """Every test starts from the same random state."""


def cones(count: int = 16, labels: int = 1, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, K, size, size) that fall from the centre outwards, and discs (B, K, size, size).

    Steep cones end at the disc's outline. Flat ones, whose masks are unsure, end one unit too far out:
    moved by -1 they end where the disc does.
    """
    x, y = torch.meshgrid(*[torch.arange(size) - size / 2 + 0.5] * 2, indexing="ij")
    distance = (x**2 + y**2).sqrt()
    radius = torch.randint(5, 9, (count, labels, 1, 1)) + 0.1
    flat = torch.rand(count, labels, 1, 1) < 0.5
    logits = torch.where(flat, (radius - distance) * 0.4 + 1, (radius - distance) * 4)
    return logits, (distance < radius).expand(count, labels, -1, -1).float()


def dice(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Dice (B, K) of the masks of `logits`."""
    pred = (logits > 0).float()
    return 2 * (pred * mask).sum(dim=(2, 3)) / (pred + mask).sum(dim=(2, 3))


def taught(steps: int = 20, labels: int = 1) -> OutlineChoice:
    """A choice that saw cones."""
    outline = OutlineChoice()
    for _ in range(steps):
        outline.learn(*cones(labels=labels))
    return outline


def test_untrained_nothing_is_moved():
    logits = torch.randn(2, 3, 8, 8)
    assert torch.equal(OutlineChoice()(logits), logits)


@pytest.mark.parametrize("labels", [1, 3])
def test_masks_that_end_too_far_out_are_drawn_in_and_the_others_left(labels):
    outline = taught(labels=labels)
    logits, mask = cones(40, labels)
    chosen = outline(logits)
    moved = (chosen - logits).mean(dim=(2, 3))
    is_flat = logits[:, :, 0, 0] > -20
    assert is_flat.any() and not is_flat.all()
    assert torch.allclose(moved[is_flat], torch.tensor(-1.0), atol=1e-5)
    assert (dice(chosen, mask) > dice(logits, mask) - 0.05).all()  # steep ones hardly change
    assert dice(chosen, mask)[is_flat].mean() > dice(logits, mask)[is_flat].mean() + 0.1


def test_every_mask_is_moved_as_a_whole_by_one_of_the_offsets():
    outline = taught()
    logits = torch.randn(8, 2, 16, 16) * 3
    moved = outline(logits) - logits
    first = moved[:, :, :1, :1]
    assert torch.allclose(moved, first.expand_as(moved), atol=1e-5)
    distance = (first.flatten()[:, None] - torch.tensor(OFFSETS)).abs().min(dim=1).values
    assert (distance < 1e-5).all()


def test_the_expected_dice_follows_the_masks_own():
    assert not OutlineChoice().learned
    outline = taught()
    assert outline.learned
    logits, mask = cones(40)
    expected = outline.expected_dice(logits)
    assert expected.shape == (40, 1)
    assert (expected - dice(logits, mask)).abs().mean() < 0.12
    assert torch.corrcoef(torch.cat([expected, dice(logits, mask)], dim=1).T)[0, 1] > 0.6
    assert outline.expected_dice(logits[0, 0]).shape == ()
    assert outline.expected_dice(torch.full((1, 8, 8), 30.0)).max() <= 1


def test_of_several_masks_of_a_label_the_best_looking_is_kept():
    network = SimpleNamespace(outline=taught())
    logits, _ = cones(12, labels=2)
    candidates = torch.stack([logits + move for move in OFFSETS], dim=1).sigmoid()
    kept = torch.stack([best_masks(network, one) for one in candidates])
    assert torch.allclose(kept, network.outline(logits).sigmoid(), atol=1e-5)
    expected = expected_dice(network, candidates)  # (12, 3, 2)
    assert torch.equal(expected_dice(network, kept), expected.amax(dim=1))


def test_an_empty_mask_is_never_chosen_over_another():
    network = SimpleNamespace(outline=taught())
    drawn = torch.zeros(1, 16, 16)
    drawn[:, 4:12, 4:12] = 0.6
    empty = torch.zeros(1, 16, 16)
    for weight in (-1.0, 1.0):  # whatever would be expected of an empty one
        network.outline.weight = torch.tensor([weight, 0.0, 0.0, 0.0])
        assert torch.equal(best_masks(network, torch.stack([drawn, empty])), drawn)
        assert torch.equal(best_masks(network, torch.stack([empty, drawn])), drawn)


def test_it_is_the_least_squares_of_all_steps_at_first():
    outline = OutlineChoice(memory=1000)
    steps = [cones() for _ in range(10)]
    for step in steps:
        outline.learn(*step)
    looks, wanted = [], []
    for logits, mask in steps:
        for offset in OFFSETS:
            looks.append(outline._looks(logits + offset).flatten(0, 1))
            wanted.append(dice(logits + offset, mask).flatten())
    looks, wanted = torch.cat(looks).double(), torch.cat(wanted).double()
    best = torch.linalg.lstsq(looks, wanted).solution
    error = [(looks @ w - wanted).square().mean() for w in (best, outline.weight.double())]
    assert error[1] < 1.1 * error[0] + 1e-5


def test_older_steps_weigh_less():
    """Cones that end too far in, after as many that end too far out."""
    outline = OutlineChoice(memory=5)
    for shift in (0.0, -2.0):
        for _ in range(30):
            logits, mask = cones()
            outline.learn(logits + shift, mask)
    logits, _ = cones(40)
    is_flat = logits[:, :, 0, 0] > -20
    moved = (outline(logits - 2) - logits + 2).mean(dim=(2, 3))
    assert torch.allclose(moved[is_flat], torch.tensor(1.0), atol=1e-4)


def test_images_without_the_object_teach_nothing():
    outline, alone = OutlineChoice(), OutlineChoice()
    logits, mask = cones()
    mask[8:] = 0
    outline.learn(logits, mask)
    alone.learn(logits[:8], mask[:8])
    assert torch.equal(outline.weight, alone.weight) and outline.weight.any()
    outline.learn(logits, torch.zeros_like(mask))
    assert torch.equal(outline.weight, alone.weight) and int(outline.steps) == 1


def test_it_learns_under_autocast_in_full_precision():
    outlines = OutlineChoice(), OutlineChoice()
    given = cones()
    outlines[0].learn(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outlines[1].learn(*given)
    assert torch.allclose(outlines[0].gram, outlines[1].gram, rtol=1e-5)


def test_very_sure_logits_give_finite_looks():
    outline = OutlineChoice()
    logits, mask = cones()
    outline.learn(logits * 1e4, mask)
    outline.learn(torch.full_like(logits, -1e4), mask)
    assert outline.weight.isfinite().all()
    assert outline(logits * 1e4).isfinite().all()


def batch(keywords=("polyp",), count: int = 4) -> tuple[torch.Tensor, dict]:
    """Images (B, 3, 16, 16) and paired targets."""
    masks = (torch.rand(count, len(keywords), 16, 16) > 0.5).float()
    wanted = targets(keywords, masks, share=0.5, whole_mask=masks)
    return torch.rand(count, 3, 16, 16), wanted


class Shrink(torch.nn.Module):
    """Moves every mask by -1."""

    learned = False

    def forward(self, logits):
        """Logits less one."""
        return logits - 1


@pytest.mark.parametrize("prompt", [None, "small polyp"])
def test_text_free_and_guided_masks_are_outlined_and_presence_is_not(prompt):
    net = small_network(choose_outline=True).eval()
    net.presence_threshold = 0.0
    image = torch.rand(2, 3, 16, 16)
    inferer = ConceptInferer(prompt=prompt)
    plain = inferer.predict_batch(image, net)
    net.outline = Shrink()
    outlined = inferer.predict_batch(image, net)
    for before, after in zip(plain, outlined, strict=True):
        expected = (before.probabilities.logit() - 1).sigmoid()
        assert torch.allclose(after.probabilities, expected, atol=1e-5)
        assert torch.equal(after.presence, before.presence)


@pytest.mark.parametrize("paired", [True, False])
def test_training_learns_from_text_free_masks_where_they_are_decoded(monkeypatch, paired):
    net = small_network(TWO, choose_outline=True)
    image, wanted = batch(TWO)
    wanted["mask"] = wanted["mask"].roll(1, 0)  # the prompts ask for something else
    if not paired:
        del wanted["whole_mask"]
    taken = []
    monkeypatch.setattr(net.outline, "learn", lambda *given: taken.append(given))
    outputs = net(image, wanted)
    ((logits, mask),) = taken
    assert torch.equal(logits, outputs["logits"][:, :2])
    assert torch.equal(mask, wanted["whole_mask" if paired else "mask"])


def test_the_networks_own_training_stays_as_it_is():
    with_it, without = small_network(choose_outline=True), small_network()
    without.load_state_dict(with_it.state_dict())
    image, wanted = batch()
    states = []
    for net in (with_it, without):
        torch.manual_seed(3)
        ConceptSegLoss()(net(image, wanted), wanted).backward()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
    other = dict(without.named_parameters())
    assert set(other) == {name for name, _ in with_it.named_parameters()}
    for name, parameter in with_it.named_parameters():
        assert (parameter.grad is None) == (other[name].grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, other[name].grad), name
    assert int(with_it.outline.steps) == 1


def test_judging_learns_nothing():
    net = small_network(choose_outline=True).eval()
    net(*batch())
    assert int(net.outline.steps) == 0


def test_weights_load_with_and_without_it():
    net, plain = small_network(choose_outline=True), small_network().eval()
    for _ in range(3):
        net(*batch())
    net.eval()
    plain.load_state_dict(net.state_dict())
    again = small_network(choose_outline=True).eval()
    again.load_state_dict(net.state_dict())
    image = torch.rand(2, 3, 16, 16)
    assert again.outline.weight.any() and torch.equal(again(image), net(image))
    again.load_state_dict(plain.state_dict())  # those of before move nothing
    assert torch.equal(again(image), plain(image))


def test_a_plain_network_chooses_its_outline_too():
    conv = torch.nn.Conv2d(3, 1, 3, padding=1)
    net = PlainSegNet(["polyp"], conv, 3, divisor=4, choose_outline=True)
    image, wanted = batch()
    net(image, wanted)
    assert int(net.outline.steps) == 1
    net.eval()
    before = net(image)[:, 1:]
    net.outline = Shrink()
    assert torch.allclose(net(image)[:, 1:], conv(image) - 1, atol=1e-5)
    decoded, _ = net.decode(net.encode_image(image), None)
    assert torch.allclose(decoded, conv(image) - 1, atol=1e-5)
    assert before.shape == decoded.shape
