"""The evaluation step: the same numbers whether or not a volume's encodings are kept."""

import weakref
from types import SimpleNamespace

import pytest
import torch
from small_network import small_network

from conceptseg import engines
from conceptseg.engines import EvaluationIteration
from conceptseg.evaluation import CONDITIONS
from conceptseg.inferer import ConceptInferer

SLICES, AXES = 9, (0, 2)


class LiveEncodings:
    """Counts what a network encoded and is still in memory."""

    def __init__(self, network) -> None:
        self.encode, self.alive, self.most = network.encode_image, 0, 0
        network.encode_image = self

    def __call__(self, image):
        encoding = self.encode(image)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(encoding, self._freed)
        return encoding

    def _freed(self) -> None:
        self.alive -= 1


@pytest.fixture
def volume_net(fixed_seed):
    """For volumes with one label."""
    return small_network(("hippocampus",), in_channels=5).eval()


def evaluate(network, image, label, conditions=CONDITIONS) -> dict:
    """The evaluation step of one case."""
    engine = SimpleNamespace(
        state=SimpleNamespace(device="cpu", output=None),
        network=network,
        inferer=ConceptInferer(slice_axes=AXES, batch_size=2),
        fire_event=lambda event: None,
    )
    return EvaluationIteration(conditions)(engine, {"image": image, "label": label})


def volume() -> tuple[torch.Tensor, torch.Tensor]:
    """Image and label of a volume with an object."""
    label = torch.zeros(1, 1, SLICES, 10, SLICES)
    label[..., 2:6, 3:7, 2:7] = 1
    return torch.rand(1, 1, SLICES, 10, SLICES), label


def test_a_large_volume_is_judged_as_a_small_one_with_few_encodings_in_memory(
    volume_net, monkeypatch
):
    case, live = volume(), LiveEncodings(volume_net)
    kept = evaluate(volume_net, *case)
    batches = len(AXES) * -(-SLICES // 2)
    assert live.most >= batches
    live.most = 0
    monkeypatch.setattr(engines, "KEPT_VOXELS", 0)
    streamed = evaluate(volume_net, *case)
    assert live.most <= 2 and live.alive == 0
    assert set(streamed) == {"image", "label", "uncertainty", *CONDITIONS}
    assert all(torch.equal(streamed[name], kept[name]) for name in kept)
    assert not torch.equal(kept["text_free"], kept["text_guided_oracle"])


@pytest.mark.parametrize(("limit", "times"), [(len(AXES) * 10 * SLICES**2, 1), (0, 2)])
def test_a_small_volume_is_encoded_once_for_all_conditions(volume_net, monkeypatch, limit, times):
    monkeypatch.setattr(engines, "KEPT_VOXELS", limit)
    encode, count = volume_net.encode_image, []
    volume_net.encode_image = lambda image: count.append(len(image)) or encode(image)
    evaluate(volume_net, *volume(), conditions=("text_guided_oracle", "no_condition"))
    assert sum(count) == times * len(AXES) * SLICES


def test_a_picture_is_encoded_once_for_all_conditions(fixed_seed, monkeypatch):
    monkeypatch.setattr(engines, "KEPT_VOXELS", 0)
    network = small_network().eval()
    live = LiveEncodings(network)
    label = torch.zeros(1, 1, 16, 16)
    label[..., 4:9, 4:9] = 1
    evaluate(network, torch.rand(1, 3, 16, 16), label, conditions=CONDITIONS[1:])
    assert live.most == 1
