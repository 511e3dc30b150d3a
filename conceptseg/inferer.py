"""Inference: encode an image once, decode every prompt from it; volumes slice by slice."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn
from tqdm import tqdm

from .guidance import (
    mostly_kept,
    plan_prompt,
    remarks_on_fit,
    remarks_on_size,
    restrict_to_prompt,
)
from .network import ConceptSegNet
from .outline import best_masks, knows_dice
from .prediction import EncodedImage, ImageEncoding, Prediction
from .slices import RAS_DIRECTIONS, pad_to_multiple, slices_to_volume, volume_to_slices

CONDITIONS = ("text_free", "none")
BATCH_PIXELS = 2**18  # of a batch of slices at most: feature maps of larger ones take gigabytes
RULED_OUT = 0.1  # presence under a place below it: the network is sure that nothing is there
LONG = 10  # batches of slices after which a bar is shown


def _free_where_doubted(
    presence: Tensor, encoding: ImageEncoding, network: ConceptSegNet
) -> Tensor:
    """Presence logits (B, K) by which masks under a place are emptied.

    Where the place makes an object improbable, but is not ruled out, the student alone says whether there is one:
    then the person knows better where.
    """
    doubted = network.absent(presence) & (presence.sigmoid() > RULED_OUT)
    if not doubted.any():
        return presence
    _, free = network.decode(encoding, network.condition(encoding))
    return torch.where(doubted, free, presence)


class ConceptInferer(Inferer):
    """Text-free by default; follows a concept prompt when there is one.

    Args:
        prompt: concept prompt; None: text-free. An empty string is an error.
        concept: the same as an option of a client, where "" stands for text-free; `prompt` wins.
        prompt_strength: 0 (student alone) to 1 (prompt alone).
        condition: "text_free", or "none" for the embedding that says nothing (an analysis row).
        slice_axes: axes along which volumes are cut; probabilities are averaged over them.
        slice_context: neighbouring slices on each side, as trained.
        batch_size: slices encoded at a time, fewer where they are large.
        minimum_size: images are padded at least to this many pixels per axis, as trained.
        keep_to_place: in an image, a prompt that names a place keeps the parts of the mask that lie there, and
            has the likeliest region there drawn if none does, unless the network is sure that nothing is there or
            text-free finds no such object at all; False leaves places to the network alone.
        try_sizes: in an image, a prompt that says no size is decoded with each size too, and the mask of the
            highest expected Dice is kept, if the network knows one (`OutlineChoice`) and the prompt removes hardly
            anything of its mask: a place that tells objects apart says more; False decodes once.
        progress: show a bar with the time left while a large volume is segmented.
        mirror_axes: spatial axes along which an image may be mirrored, as in training; the masks of the
            mirrored images tell how sure one is (`uncertainty`). The first axis runs from side to side.

    Example::

        inferer = ConceptInferer(prompt="posterior hippocampus")
        inferer(volume, network).shape  # volume (1, 1, X, Y, Z) -> (1, 3, X, Y, Z)
    """

    text_free_only = False  # knows neither prompts nor the condition "none"

    def __init__(
        self,
        prompt: str | None = None,
        concept: str = "",
        prompt_strength: float = 1.0,
        condition: str = "text_free",
        slice_axes: Sequence[int] = (2,),
        slice_context: int = 2,
        batch_size: int = 16,
        minimum_size: int = 0,
        keep_to_place: bool = True,
        try_sizes: bool = True,
        progress: bool = False,
        mirror_axes: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        if condition not in CONDITIONS:
            raise ValueError(f"expected a condition out of {CONDITIONS}, got {condition!r}")
        if not 0 <= float(prompt_strength) <= 1:
            raise ValueError(f"expected prompt_strength in [0, 1], got {prompt_strength}")
        self.prompt = prompt if prompt is not None else (concept or None)
        self.prompt_strength = float(prompt_strength)
        self.condition = condition
        self.slice_axes = tuple(slice_axes)
        self.slice_context = slice_context
        self.batch_size = batch_size
        self.minimum_size = minimum_size
        self.keep_to_place = keep_to_place
        self.try_sizes = try_sizes
        self.progress = progress
        self.mirror_axes = tuple(mirror_axes)

    def copy(self, **changes: Any) -> ConceptInferer:
        """The same inferer with other attributes."""
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Probabilities (B, K + 1, *spatial), background first, of `inputs` (B, C, *spatial)."""
        predictions = self.predict_batch(inputs, network)
        return torch.stack([p.with_background() for p in predictions])

    def predict_batch(self, inputs: Tensor, network: nn.Module) -> list[Prediction]:
        """One `Prediction` for each image of `inputs` (B, C, *spatial)."""
        network = getattr(network, "module", network)
        # each batch is decoded as soon as it is encoded: a volume's feature maps would take gigabytes
        return [self.decode(self.stream(image, network), network) for image in inputs]

    @torch.no_grad()
    def encode(self, image: Tensor, network: ConceptSegNet) -> EncodedImage:
        """Encode one image (C, W, H) or RAS volume (C, X, Y, Z)."""
        return self.stream(image, network).keep()

    def stream(self, image: Tensor, network: ConceptSegNet) -> EncodedImage:
        """As `encode`, but for one prompt only: batches are encoded when `decode` asks for them."""
        if image.ndim not in (3, 4):
            raise ValueError(
                f"expected an image (C, W, H) or a volume (C, X, Y, Z), got shape {tuple(image.shape)}"
            )
        image = image.as_tensor() if isinstance(image, MetaTensor) else image
        axes = [None] if image.ndim == 3 else list(self.slice_axes)
        parts = []
        for axis in axes:
            stack = (
                image[None] if axis is None else volume_to_slices(image, axis, self.slice_context)
            )
            stack, inner = pad_to_multiple(stack, network.backbone.divisor, self.minimum_size)
            fitting = max(1, BATCH_PIXELS // (stack.shape[2] * stack.shape[3]))
            parts.append((axis, stack.split(min(self.batch_size, fitting)), inner))
        count = sum(len(batches) for _, batches, _ in parts)
        silent = not self.progress or count < LONG
        bar = tqdm(total=count, desc="slices", unit="batch", leave=False, disable=silent or None)

        def encode(batch: Tensor) -> ImageEncoding:
            encoding = network.encode_image(batch)
            bar.update()
            return encoding

        stacks = [(axis, map(encode, batches), inner) for axis, batches, inner in parts]
        return EncodedImage(tuple(image.shape[1:]), stacks)

    @torch.no_grad()
    def decode(
        self,
        encoded: EncodedImage,
        network: ConceptSegNet,
        prompt: str | None = None,
        teachers: Sequence[Tensor] | None = None,
    ) -> Prediction:
        """Decode one prompt.

        Args:
            encoded: what `encode` gave.
            network: the same network.
            prompt: overrides the inferer's own.
            teachers: prompt embeddings of one's own making in place of a prompt, one tensor (N, K, E)
                for each entry of `encoded.stacks`.

        Raises:
            ValueError: for an empty prompt, unknown words or an unknown class.
        """
        volume = len(encoded.spatial_shape) == 3
        prompt = prompt if prompt is not None else self.prompt
        plan = plan_prompt(prompt, network.keywords, volume, descriptors=network.descriptors)
        if not self.keep_to_place:
            plan = replace(plan, place=None, common_place=None)
        trying = self.try_sizes and teachers is None and knows_dice(network)
        sized = plan.sized if trying else ()
        if sized:
            encoded.keep()
        if teachers is None:
            teachers = self._teachers(plan.sentences, encoded, network) if plan.guided else None
        placed = plan.place is not None
        total, presence, students = self._decode_stacks(encoded, network, teachers, placed)
        highest = presence.amax(dim=0)
        doubts = ()
        if plan.guided:
            directions = RAS_DIRECTIONS if volume else None
            everywhere, total = total, restrict_to_prompt(total, plan, directions)
            if sized and (fitting := mostly_kept(everywhere, total)).any():
                best = self._best_of_sizes(everywhere, sized, encoded, network, placed)
                everywhere = torch.where(fitting[:, None, None], best, everywhere)
                total = restrict_to_prompt(everywhere, plan)
            doubts = remarks_on_fit(plan, highest, everywhere, total)
        return Prediction(
            total,
            highest,
            self._read_out(network, students, presence),
            plan.asked,
            plan.understood,
            plan.warnings + doubts + remarks_on_size(encoded.spatial_shape, self.minimum_size),
        )

    def _best_of_sizes(
        self,
        first: Tensor,
        sized: Sequence[list[str]],
        encoded: EncodedImage,
        network: ConceptSegNet,
        placed: bool,
    ) -> Tensor:
        """The best looking masks (K, W, H) of an image: the first ones, or those under other sentences."""
        tried = [first]
        for sentences in sized:
            teachers = self._teachers(sentences, encoded, network)
            tried.append(self._decode_stacks(encoded, network, teachers, placed)[0])
        return best_masks(network, torch.stack(tried))

    @staticmethod
    def _teachers(
        sentences: Sequence[str], encoded: EncodedImage, network: ConceptSegNet
    ) -> list[Tensor]:
        """Prompt embeddings (1, K, E) of a sentence for each label, the same for every stack and slice."""
        told = [s or k for s, k in zip(sentences, network.keywords, strict=True)]
        return [network.encode_prompts(told)[None]] * len(encoded.stacks)

    def _decode_stacks(
        self,
        encoded: EncodedImage,
        network: ConceptSegNet,
        teachers: Sequence[Tensor] | None,
        placed: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (K, *spatial), presence (N, K) in [0, 1] and students (N, K, E) of all stacks' slices."""
        total, presences, students = 0, [], []
        for i, (axis, batches, inner) in enumerate(encoded.stacks):
            teacher = None if teachers is None else teachers[i]
            probabilities, presence, student = self._decode_stack(batches, network, teacher, placed)
            stack = probabilities[inner]
            stack = stack[0] if axis is None else slices_to_volume(stack, axis)
            total = total + stack / len(encoded.stacks)
            presences.append(presence)
            students.append(student)
        return total, torch.cat(presences), torch.cat(students)

    def _decode_stack(
        self,
        batches: Iterable[ImageEncoding],
        network: ConceptSegNet,
        teacher: Tensor | None,
        placed: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (N, K, H, W), presence (N, K) in [0, 1] and students (N, K, E) of all slices.

        `teacher` is (N, K, E), or (1, K, E) for all slices. `placed`: it names a place, see
        `_free_where_doubted`.
        """
        parts = []
        start = 0
        for encoding in batches:
            count = encoding.student.shape[0]
            if self.condition == "none":
                condition = network.null_condition(encoding)
            elif teacher is None:
                condition = network.condition(encoding)
            else:
                one = teacher if len(teacher) == 1 else teacher[start : start + count]
                share = torch.full((count,), self.prompt_strength).to(teacher)
                condition = network.condition(encoding, one.expand_as(encoding.student), share)
            logits, presence = network.decode(encoding, condition)
            there = presence
            if placed and presence is not None:
                there = _free_where_doubted(presence, encoding, network)
            probabilities = network.gate(logits, there).sigmoid()
            presence = logits.amax(dim=(2, 3)) if presence is None else presence
            parts.append((probabilities, presence.sigmoid(), encoding.student))
            start += count
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    @staticmethod
    def _read_out(network: ConceptSegNet, students: Tensor, presence: Tensor) -> list[dict]:
        """Read the student of each label, averaged over slices by presence."""
        weight = presence / presence.sum(dim=0, keepdim=True).clamp(min=1e-6)  # (N, K)
        mean = (students * weight.unsqueeze(-1)).sum(dim=0)  # (K, E)
        return [network.readout.read(embedding) for embedding in mean]
