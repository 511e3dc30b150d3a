"""SAN-KD: student, mixing and the distances, against independent arithmetic."""

import numpy as np
import pytest
import torch

from conceptseg.distillation import SelfAddingNoise, StudentHead, distillation_loss


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 2, 5, generator=generator) for _ in range(2))


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_cosine_is_one_minus_the_cosine():
    s, t = _pair()
    a, b = s.numpy(), t.numpy()
    expected = 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert np.allclose(distillation_loss(s, t, "cosine").numpy(), expected, atol=1e-6)


def test_l2_is_the_squared_distance_of_unit_vectors():
    s, t = _pair()
    a, b = (x.numpy() / np.linalg.norm(x.numpy(), axis=-1, keepdims=True) for x in (s, t))
    assert np.allclose(distillation_loss(s, t, "l2").numpy(), ((a - b) ** 2).sum(-1), atol=1e-6)


def test_kl_is_the_papers():
    s, t = _pair()
    temperature = 2.0
    q, p = (_softmax(1 / (1 + np.exp(-x.numpy())) / temperature) for x in (s, t))
    expected = (p * np.log(p / q)).sum(-1) * temperature**2
    assert np.allclose(distillation_loss(s, t, "kl", temperature).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "l2", "kl"])
def test_distances_vanish_at_equality_and_spare_the_teacher(kind):
    s, t = (x.clone().requires_grad_() for x in _pair())
    assert distillation_loss(s, s.detach(), kind).abs().max() < 1e-6
    distillation_loss(s, t, kind).sum().backward()
    assert s.grad.abs().sum() > 0 and t.grad is None


def test_none_is_zero_and_an_unknown_kind_is_refused():
    s, t = _pair()
    assert float(distillation_loss(s, t, "none").sum()) == 0
    with pytest.raises(ValueError, match=r"cosine.*got 'euclid'"):
        distillation_loss(s, t, "euclid")


def test_shares_zero_one_and_learned():
    noise = SelfAddingNoise(5, initial_noise=0.2)
    s, t = _pair()
    share = torch.tensor([0.0, 1.0, float("nan")])
    mixed = noise(t, s, share)
    assert torch.allclose(mixed[0], s[0]) and torch.allclose(mixed[1], t[1])
    assert torch.allclose(mixed[2], 0.8 * t[2] + 0.2 * s[2], atol=1e-6)
    assert torch.allclose(noise(t, s), 0.8 * t + 0.2 * s, atol=1e-6)
    assert torch.equal(noise(None, s), s)


def test_scale_and_shift_apply_to_every_mixture():
    noise = SelfAddingNoise(5)
    with torch.no_grad():
        noise.scale.fill_(3)
        noise.shift.fill_(1)
    s, _ = _pair()
    assert torch.allclose(noise(None, s), 3 * s + 1)


def test_the_learned_share_gets_a_gradient_and_a_bad_start_is_refused():
    noise = SelfAddingNoise(5)
    s, t = _pair()
    noise(t, s).square().sum().backward()
    assert noise.noise_logit.grad.abs() > 0
    with pytest.raises(ValueError, match=r"\(0, 1\), got 1"):
        SelfAddingNoise(5, 1)


def test_student_gives_one_embedding_per_class():
    assert StudentHead(8, 3, 5)(torch.rand(2, 8)).shape == (2, 3, 5)
    one = StudentHead(8, 3, 5, keyword_conditioned=False)(torch.rand(1, 8))
    assert torch.equal(one[:, 0], one[:, 2])
