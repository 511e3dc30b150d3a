"""A small CLIPSeg trained from scratch with text: the text-guided baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..backbones import BackboneOutput
from ..clipseg import ClipSegBackbone, ClipSegMaskDecoder, ClipSegTextEncoder
from ..network import with_background
from ..plain import PlainReadout
from ..prediction import ImageEncoding
from ..prompts import CompactTextEncoder, TokenizedPrompts


class WordClipSegTextEncoder(ClipSegTextEncoder):
    """CLIP's text transformer over whole words of the concept vocabulary; needs no tokenizer files.

    Args:
        keywords: class keywords, whose words join the vocabulary.
        config: CLIPSeg configuration; its text vocabulary is that of the words.
    """

    def __init__(self, keywords: Sequence[str], config: Mapping[str, Any]) -> None:
        words = CompactTextEncoder(keywords, token_dim=8, embed_dim=8, num_layers=1, num_heads=1)
        text = {**config.get("text_config", {}), "vocab_size": len(words.vocabulary)}
        text |= {"eos_token_id": len(words.vocabulary) - 1, "bos_token_id": 1, "pad_token_id": 0}
        super().__init__({**config, "text_config": text}, frozen=False)
        self._words = [words]  # in a list: its parameters are not ours

    def tokenize(self, prompts: Sequence[str], num_placeholders: int = 0) -> TokenizedPrompts:
        """Ids of known words; this encoder takes no concept token."""
        return self._words[0].tokenize(prompts)


class TextPromptedClipSeg(nn.Module):
    """CLIPSeg (transformers' classes), used like `ConceptSegNet`: it always needs a sentence.

    Without a prompt it is told the keyword. It has no student, presence or read-out.

    Args:
        keywords: one per label.
        in_channels: image channels; other than 3 are mixed to 3 first.
        config: what differs from the refined checkpoint's configuration.

    Example::

        network = TextPromptedClipSeg(["polyp"], 3, small_config)
        network(torch.rand(1, 3, 64, 64)).shape  # (1, 2, 64, 64)
    """

    def __init__(
        self, keywords: Sequence[str], in_channels: int, config: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.keywords = tuple(keywords)
        self.mix = nn.Identity() if in_channels == 3 else nn.Conv2d(in_channels, 3, 1)
        self.backbone = ClipSegBackbone(config, stem_channels=(), frozen=False)
        self.decoder = ClipSegMaskDecoder(config, stem_channels=(), skip=False)
        self.text_encoder = WordClipSegTextEncoder(keywords, config)
        self.readout = PlainReadout()
        self.descriptors: dict = {}

    def encode_image(self, image: Tensor) -> ImageEncoding:
        """Encode `image` (B, C, H, W); the keyword's embedding stands for the student."""
        encoded: BackboneOutput = self.backbone(self.mix(image))
        keyword = self.encode_prompts(self.keywords)
        return ImageEncoding(encoded, keyword.expand(image.shape[0], -1, -1))

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (N, E) of N sentences."""
        tokens = self.text_encoder.tokenize(prompts).to(next(self.parameters()).device)
        return self.text_encoder(tokens.input_ids, tokens.attention_mask)

    def condition(
        self, encoding: ImageEncoding, teacher: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """The sentence's embedding (B, K, E), or the keyword's without one."""
        return encoding.student if teacher is None else teacher

    def null_condition(self, encoding: ImageEncoding) -> Tensor:
        """The keyword's embedding."""
        return encoding.student

    def decode(self, encoding: ImageEncoding, condition: Tensor) -> tuple[Tensor, None]:
        """Mask logits (B, K, H, W) under `condition` (B, K, E)."""
        count = condition.shape[1]
        maps = [m.repeat_interleave(count, dim=0) for m in encoding.backbone.features]
        logits, _ = self.decoder(maps, condition.flatten(0, 1))
        return logits.unflatten(0, (-1, count)).squeeze(2), None

    def gate(self, logits: Tensor, presence: None) -> Tensor:
        """Unchanged logits."""
        return logits

    def forward(self, image: Tensor, targets: dict | None = None) -> Tensor | dict:
        """Logits with background (B, K + 1, H, W), or with targets the dictionary the loss takes."""
        encoding = self.encode_image(image)
        teacher = None
        if targets is not None:
            lines = [line for block in targets["prompt"] for line in block.split("\n")]
            teacher = self.encode_prompts(lines).view(image.shape[0], len(self.keywords), -1)
        logits, _ = self.decode(encoding, self.condition(encoding, teacher))
        if targets is None:
            return with_background(logits)
        return {"logits": logits, "presence": None, "map": None}
