"""ConceptInferer: shapes, prompts, and one encoding for many prompts."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.data import MetaTensor
from small_network import small_network
from torch import nn

from conceptseg.concepts import ATTRIBUTES
from conceptseg.inferer import ConceptInferer
from conceptseg.outline import OutlineChoice

TWO = ("anterior hippocampus", "posterior hippocampus")


class Counting(nn.Module):
    """Counts the images that pass through a backbone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.inner, self.images = backbone, 0
        self.divisor, self.in_channels = backbone.divisor, backbone.in_channels

    def forward(self, image: torch.Tensor):
        self.images += image.shape[0]
        return self.inner(image)


class Refusing(nn.Module):
    """A module that must not be called."""

    def forward(self, *args, **kwargs):
        raise AssertionError("called")


def always_present(net):
    """`net` with a presence head that says present, so that masks are not emptied."""
    nn.init.zeros_(net.presence[-1].weight)
    nn.init.constant_(net.presence[-1].bias, 5.0)
    return net.eval()


@pytest.fixture
def net(fixed_seed):
    """For photographs, one label."""
    return always_present(small_network())


@pytest.fixture
def volume_net(fixed_seed):
    """For volumes with two neighbours on each side, two labels."""
    return always_present(small_network(TWO, in_channels=5))


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (2, 3, 17, 9), (1, 3, 1, 1)])
def test_probabilities_have_the_image_s_size_and_background_first(net, shape):
    result = ConceptInferer()(torch.rand(shape), net)
    assert result.shape == (shape[0], 2, *shape[2:])
    assert torch.allclose(result.sum(dim=1), torch.ones(()))
    assert result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize("axes", [(2,), (0, 1, 2)])
def test_volumes_keep_their_size_along_any_axis(volume_net, axes):
    result = ConceptInferer(slice_axes=axes)(torch.rand(1, 1, 7, 9, 5), volume_net)
    assert result.shape == (1, 3, 7, 9, 5)


def test_axes_are_averaged(volume_net):
    volume = torch.rand(1, 6, 7, 8)
    single = [
        ConceptInferer(slice_axes=(axis,)).predict_batch(volume[None], volume_net)[0].probabilities
        for axis in (0, 1, 2)
    ]
    all_axes = ConceptInferer(slice_axes=(0, 1, 2)).predict_batch(volume[None], volume_net)[0]
    assert torch.allclose(all_axes.probabilities, sum(single) / 3, atol=1e-6)
    assert (single[0] - single[2]).abs().max() > 1e-4


def test_a_volume_in_batches_of_slices_is_the_same_volume(volume_net):
    volume = torch.rand(1, 1, 8, 8, 7)
    whole = ConceptInferer(batch_size=16)(volume, volume_net)
    parts = ConceptInferer(batch_size=2)(volume, volume_net)
    assert torch.allclose(whole, parts, atol=1e-5)
    guided = [
        ConceptInferer(prompt="hippocampus", batch_size=n)(volume, volume_net) for n in (16, 2)
    ]
    assert torch.allclose(*guided, atol=1e-5)


def test_the_memory_of_an_encoded_image_is_known(net):
    encoded = ConceptInferer().encode(torch.rand(3, 16, 16), net)
    batch = encoded.stacks[0][1][0]
    floats = [batch.student, batch.backbone.class_token, *batch.backbone.features]
    assert encoded.nbytes == 4 * sum(tensor.numel() for tensor in floats) > 0


def test_text_free_agrees_with_the_network_s_own_forward(net):
    image = torch.rand(1, 3, 16, 16)
    expected = net(image).sigmoid()[:, 1:]
    assert torch.allclose(ConceptInferer()(image, net)[:, 1:], expected, atol=1e-6)


def test_text_free_never_calls_the_text_encoder(net):
    net.text_encoder = Refusing()
    assert ConceptInferer()(torch.rand(1, 3, 8, 8), net).shape == (1, 2, 8, 8)
    with pytest.raises((AssertionError, AttributeError)):
        ConceptInferer(prompt="polyp")(torch.rand(1, 3, 8, 8), net)


def test_an_image_is_encoded_once_for_several_prompts(net):
    net.backbone = Counting(net.backbone)
    inferer = ConceptInferer()
    encoded = inferer.encode(torch.rand(3, 16, 16), net)
    free = inferer.decode(encoded, net).probabilities
    large = inferer.decode(encoded, net, prompt="1 large polyp").probabilities
    left = inferer.decode(encoded, net, prompt="2 tiny polyps on the left").probabilities
    assert net.backbone.images == 1
    assert not torch.equal(free, large) and not torch.equal(large, left)


def test_a_volume_asked_for_once_is_decoded_batch_by_batch(volume_net):
    order = []
    encode, decode = volume_net.encode_image, volume_net.decode
    volume_net.encode_image = lambda image: order.append("encode") or encode(image)
    volume_net.decode = lambda *args: order.append("decode") or decode(*args)
    volume = torch.rand(1, 1, 8, 8, 9)
    inferer = ConceptInferer(batch_size=4)
    found = inferer(volume, volume_net)
    assert order == ["encode", "decode"] * 3
    kept = inferer.decode(inferer.encode(volume[0], volume_net), volume_net)
    assert torch.equal(found[0], kept.with_background())


def test_large_slices_come_in_small_batches(volume_net, monkeypatch):
    volume = torch.rand(1, 1, 16, 16, 8)
    whole = ConceptInferer()(volume, volume_net)
    monkeypatch.setattr("conceptseg.inferer.BATCH_PIXELS", 3 * 16 * 16)
    sizes = []
    encode = volume_net.encode_image
    volume_net.encode_image = lambda image: sizes.append(len(image)) or encode(image)
    assert torch.allclose(ConceptInferer()(volume, volume_net), whole, atol=1e-5)
    assert sizes == [3, 3, 2]


def test_a_large_volume_shows_how_far_it_is(volume_net, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for size, shown in ((3, False), (12, True)):
        volume = torch.rand(1, 1, 8, 8, size)
        for progress in (False, True):
            ConceptInferer(batch_size=1, progress=progress)(volume, volume_net)
            assert (f"/{size}" in capsys.readouterr().err) is (shown and progress)


def test_each_slice_of_a_volume_is_encoded_once_per_axis(volume_net):
    volume_net.backbone = Counting(volume_net.backbone)
    inferer = ConceptInferer(slice_axes=(0, 2))
    encoded = inferer.encode(torch.rand(1, 6, 8, 5), volume_net)
    inferer.decode(encoded, volume_net)
    inferer.decode(encoded, volume_net, prompt="anterior hippocampus")
    assert volume_net.backbone.images == 6 + 5


def test_only_the_asked_label_is_given(volume_net):
    volume = torch.rand(1, 8, 8, 6)
    free = ConceptInferer().predict_batch(volume[None], volume_net)[0]
    assert free.probabilities.amax(dim=(1, 2, 3)).min() > 0 and free.asked == TWO
    asked = ConceptInferer(prompt=TWO[1]).predict_batch(volume[None], volume_net)[0]
    assert asked.asked == (TWO[1],)
    assert not asked.probabilities[0].any() and asked.probabilities[1].any()
    assert asked.prompts[0] == "" and TWO[1] in asked.prompts[1]


@pytest.mark.parametrize(("side", "kept"), [("right", True), ("left", False)])
def test_a_volume_is_restricted_to_the_side_that_was_asked_for(volume_net, side, kept):
    nn.init.zeros_(volume_net.decoder.head.weight)
    nn.init.constant_(volume_net.decoder.head.bias, 3.0)  # one part, whose centre counts as right
    inferer = ConceptInferer(prompt=f"hippocampus on the {side} side")
    probabilities = inferer.predict_batch(torch.rand(1, 1, 12, 8, 6), volume_net)[0].probabilities
    assert torch.equal(probabilities > 0.5, torch.full((2, 12, 8, 6), kept))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "expected a concept prompt"),
        ("  ", "expected a concept prompt"),
        ("frobnicate", "frob"),
    ],
)
def test_empty_and_unknown_prompts_are_refused(net, prompt, message):
    with pytest.raises(ValueError, match=message):
        ConceptInferer(prompt=prompt)(torch.rand(1, 3, 8, 8), net)


def test_an_empty_client_option_means_text_free_and_a_prompt_wins_over_it():
    assert ConceptInferer(concept="").prompt is None
    assert ConceptInferer(concept="polyp").prompt == "polyp"
    assert ConceptInferer("large polyp", concept="polyp").prompt == "large polyp"


def test_strength_zero_is_text_free_and_one_is_the_prompt_alone(net):
    image = torch.rand(1, 3, 16, 16)
    free = ConceptInferer()(image, net)
    none, half, full = (
        ConceptInferer(prompt="large polyp", prompt_strength=s)(image, net) for s in (0, 0.5, 1)
    )
    assert torch.allclose(none, free, atol=1e-6)
    assert not torch.allclose(half, free, atol=1e-6) and not torch.allclose(full, half, atol=1e-6)


def test_without_condition_the_student_does_not_matter(net):
    image = torch.rand(1, 3, 16, 16)
    silent = ConceptInferer(condition="none")
    expected, free = silent(image, net), ConceptInferer()(image, net)
    for parameter in net.student.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(silent(image, net), expected)
    assert not torch.allclose(ConceptInferer()(image, net), free, atol=1e-6)


def test_teachers_of_one_s_own_take_the_place_of_a_prompt(net):
    inferer = ConceptInferer()
    encoded = inferer.encode(torch.rand(3, 16, 16), net)
    by_prompt = inferer.decode(encoded, net, prompt="polyp")
    teacher = net.encode_prompts(["polyp"])[None]
    by_hand = inferer.decode(encoded, net, teachers=[teacher])
    assert torch.allclose(by_hand.probabilities, by_prompt.probabilities, atol=1e-6)


def judging(net):
    """`net`, which has learned that larger masks are better; its decoder draws half of the image, or, told "large", all.

    The number of decodings is counted in `net.decoded`.
    """
    net.outline = OutlineChoice()
    net.outline.weight = torch.tensor([1.0, 0.0, 0.0, 0.0])
    large = net.encode_prompts(["1 large polyp", "large polyp"])
    net.decoded = 0

    def decode(encoding, condition):
        net.decoded += 1
        logits = torch.full((1, 1, 16, 16), -9.0)
        whole = any(torch.allclose(condition[0, 0], one, atol=1e-5) for one in large)
        logits[..., : 16 if whole else 8] = 9.0
        return logits, torch.tensor([[1.0 if whole else 2.0]])

    net.decode = decode
    return net


def test_of_the_sizes_that_a_prompt_leaves_open_the_best_looking_mask_is_kept(net):
    inferer = ConceptInferer()
    image = torch.rand(3, 16, 16)
    with torch.no_grad():
        encoded = inferer.encode(image, judging(net))
    found = inferer.decode(encoded, net, prompt="polyp")
    assert net.decoded == 1 + len(ATTRIBUTES["size"])
    assert (found.probabilities > 0.5).all()
    assert float(found.presence) == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert found.prompts == ["polyp"]
    again = ConceptInferer(prompt="polyp").predict_batch(image[None], net)[0]
    assert torch.equal(again.probabilities, found.probabilities)


def test_no_size_is_tried_where_the_place_tells_objects_apart(net):
    image = torch.rand(3, 16, 16)
    with torch.no_grad():
        encoded = ConceptInferer().encode(image, judging(net))
    first = torch.full((1, 1, 16, 16), -9.0)
    first[..., :4, :4] = first[..., 12:, 12:] = 9.0  # two objects, of which the place names one
    decode = net.decode

    def decode_two(encoding, condition):
        decode(encoding, condition)
        return first, torch.tensor([[2.0]])

    net.decode, net.decoded = decode_two, 0
    found = ConceptInferer().decode(encoded, net, prompt="polyp in the upper left")
    assert (found.probabilities > 0.5).sum() == 16 and net.decoded == 1
    everywhere = ConceptInferer(keep_to_place=False)
    everywhere.decode(encoded, net, prompt="polyp in the upper left")
    assert net.decoded == 2 + len(ATTRIBUTES["size"])


def test_what_leaves_no_size_open_is_decoded_once(net):
    inferer = ConceptInferer()
    with torch.no_grad():
        encoded = inferer.encode(torch.rand(3, 16, 16), judging(net))
    teachers = [net.encode_prompts(["polyp"])[None]]
    single = inferer.copy(try_sizes=False)
    for call in (
        lambda: inferer.decode(encoded, net),
        lambda: inferer.decode(encoded, net, prompt="small polyp"),
        lambda: inferer.decode(encoded, net, prompt="polyp", teachers=teachers),
        lambda: single.decode(encoded, net, prompt="polyp"),
    ):
        net.decoded = 0
        assert (call().probabilities > 0.5).sum() == 128 and net.decoded == 1
    net.outline = OutlineChoice()  # nothing learned yet
    net.decoded = 0
    inferer.decode(encoded, net, prompt="polyp")
    assert net.decoded == 1


def test_an_absent_label_is_empty_and_says_so(net):
    nn.init.constant_(net.presence[-1].bias, -15.0)  # outweighs what the mask shows
    prediction = ConceptInferer().predict_batch(torch.rand(1, 3, 16, 16), net)[0]
    assert float(prediction.presence) < 1e-4
    assert prediction.probabilities.max() < 1e-6


def test_a_prompt_that_hardly_fits_is_remarked_on_and_the_student_is_not(net):
    image = torch.rand(1, 3, 64, 64)
    inferer = ConceptInferer()
    encoded = inferer.encode(image[0], net)
    assert inferer.decode(encoded, net, prompt="small polyp").warnings == ()
    net.decode = lambda encoding, condition: (torch.zeros(1, 1, 64, 64), torch.tensor([[0.5]]))
    (remark,) = inferer.decode(encoded, net, prompt="small polyp").warnings
    assert "may not fit this image: 'polyp' as described is present with probability 0.62" in remark
    assert inferer.decode(encoded, net).warnings == ()


def test_a_mask_elsewhere_than_asked_is_emptied_with_a_remark(net):
    logits = torch.full((1, 1, 64, 64), -9.0)
    logits[..., 4:9, 50:60] = 9.0  # lower left
    net.decode = lambda encoding, condition: (logits, torch.tensor([[9.0]]))
    encoded = ConceptInferer().encode(torch.rand(3, 64, 64), net)
    right = ConceptInferer().decode(encoded, net, prompt="polyp in the lower left")
    assert right.probabilities.amax() > 0.5 and right.warnings == ()
    wrong = ConceptInferer().decode(encoded, net, prompt="polyp in the upper right")
    assert wrong.probabilities.amax() < 0.5
    assert "'polyp' is found, but not in or beside the top right" in wrong.warnings[0]
    beside = ConceptInferer().decode(encoded, net, prompt="polyp on the left side")
    assert torch.equal(beside.probabilities > 0.5, right.probabilities > 0.5)
    (remark,) = beside.warnings
    assert "'polyp' is found, but not in the left; what lies beside it is kept." in remark


def test_several_objects_centred_elsewhere_than_said_are_kept_with_a_remark(net):
    logits = torch.full((1, 1, 64, 64), -9.0)
    logits[..., 4:9, 50:60] = 9.0  # lower left
    logits[..., 50:55, 50:60] = 9.0  # lower right
    net.decode = lambda encoding, condition: (logits, torch.tensor([[9.0]]))
    encoded = ConceptInferer().encode(torch.rand(3, 64, 64), net)
    right = ConceptInferer().decode(encoded, net, prompt="two polyps at the bottom")
    assert right.warnings == ()
    wrong = ConceptInferer().decode(encoded, net, prompt="two polyps at the top")
    assert torch.equal(wrong.probabilities, right.probabilities)
    (remark,) = wrong.warnings
    assert "'polyp' is found, but not with its middle in the top; all of it is kept." in remark
    alone = ConceptInferer(keep_to_place=False)
    assert alone.decode(encoded, net, prompt="two polyps at the top").warnings == ()


def doubting(net, guided, free):
    """Decode a doubtful region in the upper right; presence logits under a prompt and text-free."""
    logits = torch.full((1, 1, 64, 64), -9.0)
    logits[..., 4:9, 50:60] = 9.0  # lower left
    logits[..., 50:56, 4:10] = -2.0  # upper right

    def decode(encoding, condition):
        own = torch.equal(condition, encoding.student)
        return logits, torch.tensor([[free if own else guided]])

    net.decode = decode
    return ConceptInferer(prompt="polyp in the upper right")


@pytest.mark.parametrize(("guided", "free"), [(9.0, 9.0), (9.0, -9.0), (-2.0, 9.0)])
def test_the_likeliest_region_of_a_place_is_drawn_with_a_remark(net, guided, free):
    """Where the place is wrong by presence, it is for the person to say where, for the network whether."""
    inferer = doubting(net, guided, free)
    prediction = inferer.decode(inferer.encode(torch.rand(3, 64, 64), net), net)
    mask = prediction.probabilities[0] > 0.5
    assert mask[50:56, 4:10].all() and mask.sum() == 36
    assert (
        "hardly any 'polyp' is found in the top right; what is likeliest there is drawn"
        in (prediction.warnings[-1])
    )
    assert ("may not fit" in prediction.warnings[0]) is (guided < 0)
    assert float(prediction.presence) == pytest.approx(torch.tensor(guided).sigmoid().item())


def test_nothing_is_drawn_in_a_place_of_an_image_without_the_object(net):
    """Nor where the network is sure that there is none, nor where it is asked alone."""
    for guided, free, place in ((-2.0, -9.0, True), (-3.0, 9.0, True), (-2.0, 9.0, False)):
        inferer = doubting(net, guided, free).copy(keep_to_place=place)
        encoded = inferer.encode(torch.rand(3, 64, 64), net)
        assert inferer.decode(encoded, net).probabilities.max() < 1e-6


def test_only_what_was_asked_for_is_remarked_on(volume_net):
    volume_net.presence[-1].bias.data.fill_(-5.0)
    volume = torch.rand(1, 24, 20, 12)
    inferer = ConceptInferer(slice_context=volume_net.slice_context)
    prediction = inferer.copy(prompt="posterior hippocampus").predict_batch(
        volume[None], volume_net
    )
    (remark,) = prediction[0].warnings
    assert "'posterior hippocampus'" in remark and "anterior hippocampus" not in remark


def test_the_same_input_gives_the_same_output(net):
    image = torch.rand(2, 3, 16, 16)
    inferer = ConceptInferer(prompt="small polyp")
    assert torch.equal(inferer(image, net), inferer(image, net))


def test_two_threads_share_one_inferer(net):
    images = [torch.rand(1, 3, 16 + 4 * i, 16) for i in range(6)]
    inferer = ConceptInferer()
    prompts = [None, "large polyp"] * 3

    def work(i: int) -> torch.Tensor:
        encoded = inferer.encode(images[i][0], net)
        return inferer.decode(encoded, net, prompt=prompts[i]).probabilities

    alone = [work(i) for i in range(6)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, range(6)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert inferer.prompt is None


def test_a_copy_changes_without_changing_the_original():
    inferer = ConceptInferer(prompt="polyp", batch_size=3)
    other = inferer.copy(prompt=None)
    assert other.prompt is None and other.batch_size == 3 and inferer.prompt == "polyp"


def test_metadata_and_a_wrapped_network_are_accepted(net):
    image = torch.rand(1, 3, 16, 16)
    wrapped = nn.Module()
    wrapped.module = net
    expected = ConceptInferer()(image, net)
    assert torch.equal(ConceptInferer()(MetaTensor(image), wrapped), expected)


def test_no_gradient_is_recorded(net):
    assert not ConceptInferer(prompt="polyp")(torch.rand(1, 3, 8, 8), net).requires_grad


def test_a_volume_far_wider_than_trained_is_remarked(volume_net):
    volume = torch.rand(1, 1, 20, 8, 3)
    wide = ConceptInferer(minimum_size=8).predict_batch(volume, volume_net)[0]
    assert "crop the volume" in wide.warnings[0]
    fitting = ConceptInferer(minimum_size=10).predict_batch(volume, volume_net)[0]
    assert fitting.warnings == ()


def test_summary_is_plain_and_complete(net):
    prediction = ConceptInferer(prompt="polyp").predict_batch(torch.rand(1, 3, 8, 8), net)[0]
    summary = prediction.summary()
    assert set(summary) == {"presence", "readout", "asked", "prompts", "warnings"}
    assert summary["asked"] == ["polyp"] and isinstance(summary["presence"][0], float)


def test_images_without_channels_are_refused(net):
    with pytest.raises(ValueError, match=r"expected an image \(C, W, H\)"):
        ConceptInferer().encode(torch.rand(8, 8), net)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected a condition"):
        ConceptInferer(condition="oracle")
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="prompt_strength in"):
            ConceptInferer(prompt_strength=strength)
