"""SAN-KD, self-adding-noise knowledge distillation: the class token learns the prompt embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DISTILLATION_KINDS = ("cosine", "l2", "kl", "none")


class StudentHead(nn.Module):
    """Predicts the prompt embedding of every class from the image's class token alone.

    Args:
        embed_dim: width of the class token.
        num_classes: number of class keywords K.
        prompt_dim: width E of the prompt embedding.
        keyword_conditioned: give each class its own learned keyword vector; without it one embedding
            serves all classes, as in the paper.
        hidden_dim: width of the hidden layer.

    Example::

        StudentHead(128, 2, 96)(torch.rand(4, 128)).shape  # (4, 2, 96)
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        prompt_dim: int,
        keyword_conditioned: bool = True,
        hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        rows = num_classes if keyword_conditioned else 1
        self.keyword_embedding = nn.Parameter(torch.randn(rows, embed_dim) * 0.5)
        self.layers = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, prompt_dim),
        )

    def forward(self, class_token: Tensor) -> Tensor:
        """Student embeddings (B, K, E) of class tokens (B, D)."""
        keyword = self.keyword_embedding.expand(self.num_classes, -1)
        return self.layers(class_token.unsqueeze(1) + keyword)


class SelfAddingNoise(nn.Module):
    """Mixes teacher and student: (1 - a) t + a s, then a learned scale and shift.

    The student's own error is the noise that the decoder learns to bear (the paper, section 2.3:
    a starts at 0.2, scale at 1, shift at 0).

    Args:
        embed_dim: width E of the embeddings.
        initial_noise: start value of a, in (0, 1).
    """

    def __init__(self, embed_dim: int, initial_noise: float = 0.2) -> None:
        super().__init__()
        if not 0 < initial_noise < 1:
            raise ValueError(f"expected initial_noise in (0, 1), got {initial_noise}")
        self.noise_logit = nn.Parameter(torch.logit(torch.tensor(float(initial_noise))))
        self.scale = nn.Parameter(torch.ones(embed_dim))
        self.shift = nn.Parameter(torch.zeros(embed_dim))

    def forward(
        self, teacher: Tensor | None, student: Tensor, teacher_share: Tensor | None = None
    ) -> Tensor:
        """The embedding the decoder sees.

        Args:
            teacher: prompt embeddings (B, K, E), or None: the student alone (text-free).
            student: student embeddings (B, K, E).
            teacher_share: (B,) or (B, K) share of the teacher, 0 student only, 1 teacher only;
                NaN stands for the learned share; None: learned share for all.

        Returns:
            (B, K, E).
        """
        mixed = student
        if teacher is not None:
            learned = 1 - torch.sigmoid(self.noise_logit)
            if teacher_share is None:
                share = learned
            else:
                share = teacher_share.reshape(*teacher_share.shape, *[1] * (3 - teacher_share.ndim))
                share = torch.where(torch.isnan(share), learned, share)
            mixed = share * teacher + (1 - share) * student
        return mixed * self.scale + self.shift


def distillation_loss(
    student: Tensor, teacher: Tensor, kind: str = "cosine", temperature: float = 1.0
) -> Tensor:
    """Distance that pulls the student embedding to the teacher's; no gradient reaches the teacher.

    Args:
        student: (..., E).
        teacher: (..., E).
        kind: "cosine" (1 - cosine similarity), "l2" (squared distance of unit vectors), "kl" (the
            paper, equation of SAN-KD: sigmoid on both sides, KL of softmax at a temperature, times
            its square) or "none" (zero).
        temperature: T of "kl".

    Returns:
        (...) one value per embedding.

    Raises:
        ValueError: for another `kind`.
    """
    teacher = teacher.detach()
    if kind == "cosine":
        return 1 - F.cosine_similarity(student, teacher, dim=-1)
    if kind == "l2":
        return (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(dim=-1)
    if kind == "kl":
        log_student = F.log_softmax(student.sigmoid() / temperature, dim=-1)
        log_teacher = F.log_softmax(teacher.sigmoid() / temperature, dim=-1)
        divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)
        return divergence.sum(dim=-1) * temperature**2
    if kind == "none":
        return torch.zeros(student.shape[:-1], device=student.device, dtype=student.dtype)
    raise ValueError(f"expected a distillation kind out of {DISTILLATION_KINDS}, got {kind!r}")
