"""ConceptSegNet: image (and, if wanted, a concept prompt) -> mask logits.

The idea in one screen. In training, a region of interest becomes a word: the encoder's class token of
the ROI image is mapped to a *concept token*, which joins the sentence of the measured concepts; the
text encoder turns both into the prompt embedding, the *teacher*. A *student* head predicts the same
embedding from the class token of the whole image. The decoder is conditioned on either, or a mixture
(`SelfAddingNoise`). At test the student stands alone: no text, no ROI; a user's prompt takes the
teacher's place when there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import ImageBackbone
from .concepts import ATTRIBUTES
from .distillation import SelfAddingNoise, StudentHead
from .outline import OutlineChoice, fill_in_outline
from .prediction import ImageEncoding
from .prompts import ConceptTokenMapper, TextEncoder
from .readout import ConceptReadout
from .slices import segment_by_slices

ABSENT_LOGIT = -20.0  # probability 2e-9: an absent object's mask is empty at any usual threshold
PEAK_PIXELS = 4  # so many of the largest mask logits, averaged, are the mask's evidence of presence


def with_background(logits: Tensor) -> Tensor:
    """Put the background's logit before label logits (B, K, *spatial): minus the largest of them."""
    return torch.cat([-logits.amax(dim=1, keepdim=True), logits], dim=1)


class ConceptSegNet(nn.Module):
    """Concept-prompted segmentation network.

    Args:
        keywords: one per label value 1..K, such as "polyp".
        backbone: image encoder.
        text_encoder: sentence encoder; used in training and for a user's prompt only.
        decoder: (features, embedding (N, E)) -> (mask logits (N, 1, H, W), pooled (N, P)).
        keyword_conditioned: one student embedding per keyword; otherwise one for all.
        real_text: put the concepts' sentence into the teacher's prompt, not the keyword alone.
        concept_tokens: concept tokens mapped from the ROI image into the teacher's prompt; 0: none.
        presence: predict for each label whether it is present and empty the mask where it is not.
        presence_threshold: probability below which it is not; higher: fewer false alarms, more missed.
        choose_outline: learn in training, image by image, where a mask ends (`OutlineChoice`); False: at a
            probability of 0.5 everywhere.

    Example::

        net = ConceptSegNet(["polyp"], backbone, text_encoder, decoder)
        net(torch.rand(1, 3, 64, 64)).shape  # (1, 2, 64, 64): text-free logits, background first
    """

    roi_stride = 2  # the ROI image is encoded at this fraction of the resolution
    slice_axis = 2  # volumes given to `forward` are cut along it
    slice_batch = 16  # slices at a time

    def __init__(
        self,
        keywords: Sequence[str],
        backbone: ImageBackbone,
        text_encoder: TextEncoder,
        decoder: nn.Module,
        keyword_conditioned: bool = True,
        real_text: bool = True,
        concept_tokens: int = 1,
        presence: bool = True,
        presence_threshold: float = 0.5,
        choose_outline: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= presence_threshold <= 1:
            raise ValueError(f"expected presence_threshold in 0..1, got {presence_threshold}")
        self.presence_threshold = presence_threshold
        self.keywords = tuple(keywords)
        self.real_text = real_text
        self.backbone = backbone
        self.text_encoder = text_encoder
        self.decoder = decoder
        embed_dim = text_encoder.embed_dim
        self.mapper = (
            ConceptTokenMapper(
                backbone.embed_dim, text_encoder.token_dim, num_tokens=concept_tokens
            )
            if concept_tokens
            else None
        )
        self.student = StudentHead(
            backbone.embed_dim, len(self.keywords), embed_dim, keyword_conditioned
        )
        # one normalisation for both sides, so that offset and scale cannot hide from the loss
        self.embedding_norm = nn.LayerNorm(embed_dim, elementwise_affine=False)
        self.noise = SelfAddingNoise(embed_dim)
        self.null_embedding = nn.Parameter(torch.zeros(len(self.keywords), embed_dim))
        self.presence = (
            nn.Sequential(
                nn.Linear(decoder.pooled_channels + embed_dim, 64), nn.GELU(), nn.Linear(64, 1)
            )
            if presence
            else None
        )
        # kept here, so that text-free inference needs no text encoder
        self.descriptors = dict(text_encoder.descriptors)
        self.readout = ConceptReadout(embed_dim, {**ATTRIBUTES, **self.descriptors})
        self.outline = OutlineChoice() if choose_outline else None
        self.register_load_state_dict_pre_hook(fill_in_outline)

    @property
    def slice_context(self) -> int:
        """Neighbours on each side of a slice, for single-channel volumes."""
        return (self.backbone.in_channels - 1) // 2

    def encode_image(self, image: Tensor) -> ImageEncoding:
        """Encode `image` (B, C, H, W) once; see `ImageEncoding`."""
        encoded = self.backbone(image)
        return ImageEncoding(encoded, self.embedding_norm(self.student(encoded.class_token)))

    def encode_roi(self, image: Tensor, mask: Tensor) -> Tensor:
        """Concept tokens (N, T, token_dim) of the regions `mask` (N, 1, H, W) of `image` (N, C, H, W)."""
        if self.mapper is None:
            raise ValueError("expected a network with concept_tokens > 0; it was built without")
        roi_image = image * (mask > 0)
        divisor = self.backbone.divisor
        size = [divisor * max(2, round(n / self.roi_stride / divisor)) for n in image.shape[2:]]
        roi_image = F.interpolate(roi_image, size, mode="bilinear", align_corners=False)
        return self.mapper(self.backbone(roi_image).class_token)

    def encode_prompts(
        self,
        prompts: Sequence[str],
        concept_tokens: Tensor | None = None,
        has_token: Tensor | None = None,
    ) -> Tensor:
        """Prompt embeddings of sentences.

        Args:
            prompts: N sentences.
            concept_tokens: (M, T, token_dim) for the M prompts with `has_token`.
            has_token: (N,) bool.

        Returns:
            (N, E), normalised.
        """
        count = 0 if self.mapper is None else self.mapper.num_tokens
        device = self.null_embedding.device
        tokens = self.text_encoder.tokenize(prompts, num_placeholders=count).to(device)
        inserted = None
        if count:
            inserted = torch.zeros(len(prompts), count, self.text_encoder.token_dim, device=device)
            used = torch.zeros(len(prompts), dtype=torch.bool, device=device)
            if concept_tokens is not None and has_token is not None:
                used = has_token
                inserted[used] = concept_tokens.to(inserted.dtype)
            is_placeholder = tokens.input_ids == self.text_encoder.placeholder_id
            tokens.attention_mask &= ~(is_placeholder & ~used[:, None])
        embedding = self.text_encoder(tokens.input_ids, tokens.attention_mask, inserted)
        return self.embedding_norm(embedding)

    def decode(self, encoding: ImageEncoding, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """Decode one mask for each condition.

        Args:
            encoding: of B images.
            condition: (B, K, E), what `condition` gives.

        Returns:
            Mask logits (B, K, H, W), moved to the chosen outlines, and presence logits (B, K), or None
            without a presence head.
        """
        logits, presence, _ = self._decode(encoding, condition, self.decoder)
        return logits if self.outline is None else self.outline(logits), presence

    def decode_levels(
        self, encoding: ImageEncoding, condition: Tensor
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Decode as `decode` does, with masks (B, K, h, w) of coarser levels, finer ones first.

        Only decoders with deep supervision have any. For training: no outline is chosen.
        """
        deep = getattr(self.decoder, "side_heads", None)
        return self._decode(
            encoding, condition, self.decoder.decode_levels if deep else self.decoder
        )

    def _decode(
        self, encoding: ImageEncoding, condition: Tensor, decoder: Callable
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Mask logits, presence logits, and the coarser masks that `decoder` gives, if any."""
        count = condition.shape[1]
        flat = condition.flatten(0, 1)  # (B * K, E)
        maps = encoding.backbone.tokens or encoding.backbone.features
        repeated = [m.repeat_interleave(count, dim=0) for m in maps] if count > 1 else maps
        logits, pooled, *rest = decoder(repeated, flat)
        masks = [logits, *(rest[0] if rest else ())]
        logits, *sides = (m.unflatten(0, (-1, count)).squeeze(2) for m in masks)
        if self.presence is None:
            return logits, None, sides
        # what the mask itself shows, corrected by the head: a mask that finds nothing speaks of absence
        pixels = logits.flatten(2)
        evidence = pixels.topk(min(PEAK_PIXELS, pixels.shape[2]), dim=2).values.mean(dim=2)
        presence = self.presence(torch.cat([pooled, flat], dim=1))
        return logits, evidence + presence.view(-1, count), sides

    def condition(
        self, encoding: ImageEncoding, teacher: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """Embedding (B, K, E) for the decoder: student alone, or mixed with `teacher` (B, K, E)."""
        return self.noise(teacher, encoding.student, share)

    def null_condition(self, encoding: ImageEncoding) -> Tensor:
        """Learned embeddings (B, K, E) that say nothing but which label: the row "without any condition"."""
        return self.null_embedding.expand_as(encoding.student)

    def gate(self, logits: Tensor, presence: Tensor | None) -> Tensor:
        """Empty the masks (B, K, H, W) of labels whose presence (B, K) is below the threshold."""
        if presence is None:
            return logits
        return logits.masked_fill(self.absent(presence)[:, :, None, None], ABSENT_LOGIT)

    def absent(self, presence: Tensor) -> Tensor:
        """Whether labels are absent, bool of the shape of their presence logits."""
        return presence.sigmoid() < self.presence_threshold

    def segment(self, image: Tensor) -> Tensor:
        """Text-free logits (B, K + 1, H, W) of `image` (B, C, H, W), background first."""
        encoding = self.encode_image(image)
        return with_background(self.gate(*self.decode(encoding, self.condition(encoding))))

    def forward(self, image: Tensor, targets: dict | None = None) -> Tensor | dict:
        """Segment text-free, or compute everything that training needs.

        Args:
            image: (B, C, H, W); without targets also volumes (B, C, X, Y, Z) in RAS, which are cut
                along `slice_axis` with `slice_context` neighbours.
            targets: in training, what `ConceptPromptd` made: "mask" (B, K, H, W) region that the prompt
                describes, "prompt" B strings of K lines, "teacher_share" (B,), "use_concept_token"
                (B, K) bool, "null" (B,) bool; with "whole_mask" (B, K, H, W) every image is also decoded
                by the student alone.

        Returns:
            Without targets: logits (B, K + 1, *spatial), background first, absent labels emptied, so
            that argmax gives the label map. With targets: dictionary of "logits" (B, M, H, W), "mask" what
            they should be, "sides" coarser logits (see `decode_levels`), "presence", "map", "student",
            "teacher", "readout_student", "readout_teacher"; M is K, or with "whole_mask" 2 K, text-free
            masks first.
        """
        if targets is None:
            if image.ndim == 4:
                return self.segment(image)
            cut = (self.slice_axis, self.slice_context, self.backbone.divisor, self.slice_batch)
            return torch.stack([segment_by_slices(self.segment, volume, *cut) for volume in image])
        encoding = self.encode_image(image)
        teacher = self.encode_teacher(image, targets)
        condition = self.condition(encoding, teacher, targets["teacher_share"])
        null = targets["null"][:, None, None]
        condition = torch.where(null, self.null_condition(encoding), condition)
        mask = targets["mask"]
        if "whole_mask" in targets:
            condition = torch.cat([self.condition(encoding), condition], dim=1)  # (B, 2 K, E)
            mask = torch.cat([targets["whole_mask"], mask], dim=1)
        logits, presence, sides = self.decode_levels(encoding, condition)
        self.readout.observe(targets["attributes"])
        map_logits = self.decoder.map_logits(condition.flatten(0, 1))
        if self.outline is not None:
            count = len(self.keywords)  # text-free masks come first
            self.outline.learn(logits[:, :count], mask[:, :count])
        return {
            "logits": logits,
            "mask": mask,
            "sides": sides,
            "presence": presence,
            "student": encoding.student,
            "teacher": teacher,
            "map": map_logits
            if map_logits is None
            else map_logits.view(*condition.shape[:2], *map_logits.shape[2:]),
            "readout_student": self.readout(encoding.student),
            "readout_teacher": self.readout(teacher),
        }

    def encode_teacher(self, image: Tensor, targets: dict) -> Tensor:
        """Teacher embeddings (B, K, E) of the targets' prompts and regions; see `forward`."""
        mask = targets["mask"]
        prompts = [line for block in targets["prompt"] for line in block.split("\n")]
        if not self.real_text:
            prompts = list(self.keywords) * image.shape[0]
        has_token, tokens = None, None
        if self.mapper is not None:
            has_token = targets["use_concept_token"] & (mask.amax(dim=(2, 3)) > 0)
            if has_token.any():
                images = image.repeat_interleave(mask.shape[1], dim=0)[has_token.flatten()]
                tokens = self.encode_roi(images, mask[has_token].unsqueeze(1))
                has_token = has_token.flatten()
        teacher = self.encode_prompts(prompts, tokens, None if tokens is None else has_token)
        return teacher.view(*mask.shape[:2], -1)
