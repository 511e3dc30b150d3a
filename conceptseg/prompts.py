"""Prompt template, tokenizer, concept token and text encoder: a sentence becomes one embedding."""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from .concepts import canonical_vocabulary
from .concepts.descriptors import Descriptors, descriptor_words
from .concepts.schema import split_words

PLACEHOLDER = "*"
TEMPLATE = "segmentation area of"  # the paper's "Segmentation area of *", section 2.2
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", PLACEHOLDER)


@dataclass
class TokenizedPrompts:
    """A batch of tokenized prompts.

    Attributes:
        input_ids: (N, L) int64, padded at the end.
        attention_mask: (N, L) bool, False at padding.
        unknown_words: for each prompt the words outside the vocabulary, in reading order.
    """

    input_ids: Tensor
    attention_mask: Tensor
    unknown_words: list[list[str]]

    def to(self, device: torch.device | str) -> TokenizedPrompts:
        """The same prompts with their tensors on `device`."""
        return TokenizedPrompts(
            self.input_ids.to(device), self.attention_mask.to(device), self.unknown_words
        )


class TextEncoder(nn.Module, ABC):
    """Interface of all text encoders.

    Attributes:
        token_dim: width of the word embeddings, and so of concept tokens.
        embed_dim: width E of the prompt embedding.
        placeholder_id: id of the placeholder that concept tokens replace.
        descriptors: closed lists of what it can say beside the attributes of `Concepts`.
    """

    descriptors: Descriptors = MappingProxyType({})
    token_dim: int
    embed_dim: int
    placeholder_id: int

    @abstractmethod
    def tokenize(self, prompts: Sequence[str], num_placeholders: int = 0) -> TokenizedPrompts:
        """Template, `num_placeholders` placeholders and sentence as ids; unknown words are named."""

    @abstractmethod
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, concept_tokens: Tensor | None = None
    ) -> Tensor:
        """Embed prompts.

        Args:
            input_ids: (N, L) int64.
            attention_mask: (N, L) bool; a masked placeholder takes no part.
            concept_tokens: (N, T, token_dim) vectors for the T placeholders of each prompt.

        Returns:
            (N, E) prompt embeddings.
        """


def insert_concept_tokens(
    embeddings: Tensor, input_ids: Tensor, placeholder_id: int, concept_tokens: Tensor
) -> Tensor:
    """Replace the embeddings at the placeholders, found by their id, by concept tokens.

    Args:
        embeddings: (N, L, D) word embeddings.
        input_ids: (N, L) ids they belong to.
        placeholder_id: id of the placeholder token.
        concept_tokens: (N, T, D).

    Returns:
        (N, L, D); positions without a placeholder are unchanged.

    Raises:
        ValueError: if a prompt does not hold exactly T placeholders.
    """
    is_placeholder = input_ids == placeholder_id
    expected = concept_tokens.shape[1]
    found = is_placeholder.sum(dim=1)
    if bool((found != expected).any()):
        raise ValueError(
            f"expected {expected} placeholders in every prompt, got {found.tolist()};"
            f" tokenize with num_placeholders={expected}"
        )
    return embeddings.masked_scatter(
        is_placeholder.unsqueeze(-1), concept_tokens.to(embeddings.dtype)
    )


class CompactTextEncoder(TextEncoder):
    """Word-level transformer over the closed concept vocabulary, trained together with the network.

    Args:
        keywords: class keywords, one per label; their words join the vocabulary.
        token_dim: width of word embeddings.
        embed_dim: width of the prompt embedding.
        num_layers: transformer layers.
        num_heads: attention heads.
        max_tokens: longest prompt in tokens, template and markers included.
        descriptors: closed lists (`concepts.descriptors_of`) whose words join the vocabulary; weights
            trained without cannot be loaded with, nor the reverse.

    Example::

        encoder = CompactTextEncoder(["polyp"], 64, 96)
        tokens = encoder.tokenize(["1 small polyp, located in the left of the image"])
        encoder(tokens.input_ids, tokens.attention_mask).shape  # (1, 96)
    """

    def __init__(
        self,
        keywords: Sequence[str],
        token_dim: int = 128,
        embed_dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        max_tokens: int = 64,
        descriptors: Descriptors | None = None,
    ) -> None:
        super().__init__()
        self.descriptors = dict(descriptors or {})
        self.keywords = tuple(keywords)
        self.token_dim = token_dim
        self.embed_dim = embed_dim
        self.max_tokens = max_tokens
        self.vocabulary = self.vocabulary_of(keywords, self.descriptors)
        self._ids = {word: i for i, word in enumerate(self.vocabulary)}
        self.placeholder_id = self._ids[PLACEHOLDER]
        self.word_embedding = nn.Embedding(len(self.vocabulary), token_dim, padding_idx=0)
        self.position_embedding = nn.Parameter(torch.randn(1, max_tokens, token_dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            token_dim, num_heads, 2 * token_dim, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.projection = nn.Sequential(nn.LayerNorm(token_dim), nn.Linear(token_dim, embed_dim))
        checksum = torch.tensor(self.checksum_of(self.vocabulary), dtype=torch.int64)
        self.register_buffer("vocabulary_checksum", checksum)
        order = torch.tensor(self.keywords_checksum_of(keywords), dtype=torch.int64)
        self.register_buffer("keywords_checksum", order)

    @staticmethod
    def vocabulary_of(keywords: Sequence[str], descriptors: Descriptors) -> tuple[str, ...]:
        """Words of an encoder for these keywords and descriptors, in the order of their ids."""
        words = set(canonical_vocabulary(keywords)) | set(TEMPLATE.split())
        return SPECIAL_TOKENS + tuple(sorted(words | set(descriptor_words(descriptors))))

    @staticmethod
    def checksum_of(vocabulary: Sequence[str]) -> int:
        """Number that weights carry, so that no other vocabulary's are taken for them."""
        return zlib.crc32(" ".join(vocabulary).encode())

    @classmethod
    def keywords_checksum_of(cls, keywords: Sequence[str]) -> int:
        """Number of the keywords in their order, which the vocabulary, sorted, does not tell."""
        return cls.checksum_of([" ".join([*split_words(keyword), ";"]) for keyword in keywords])

    def tokenize(self, prompts: Sequence[str], num_placeholders: int = 0) -> TokenizedPrompts:
        """See `TextEncoder.tokenize`.

        Raises:
            ValueError: if a prompt holds more tokens than `max_tokens`.
        """
        rows, unknown_words = [], []
        template = TEMPLATE.split() + [PLACEHOLDER] * num_placeholders
        for prompt in prompts:
            words = re.findall(r"[^\W_]+", prompt.lower())
            unknown_words.append([w for w in words if w not in self._ids])
            known = [w for w in words if w in self._ids]
            rows.append([self._ids[w] for w in ["<start>", *template, *known, "<end>"]])
        length = max((len(row) for row in rows), default=0)
        if length > self.max_tokens:
            raise ValueError(
                f"expected a prompt of at most {self.max_tokens} tokens, got {length};"
                " shorten the sentence"
            )
        input_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        return TokenizedPrompts(input_ids, input_ids != 0, unknown_words)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, concept_tokens: Tensor | None = None
    ) -> Tensor:
        """See `TextEncoder.forward`; the embedding is the mean over the attended positions."""
        x = self.word_embedding(input_ids)  # (N, L, D)
        if concept_tokens is not None:
            x = insert_concept_tokens(x, input_ids, self.placeholder_id, concept_tokens)
        x = x + self.position_embedding[:, : x.shape[1]]
        x = self.layers(x, src_key_padding_mask=~attention_mask)
        weight = attention_mask.unsqueeze(-1).to(x.dtype)
        return self.projection((x * weight).sum(dim=1) / weight.sum(dim=1))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        """Refuse weights of another vocabulary or other keywords: ids or labels would change their meaning.

        Weights from before keywords had a checksum load all the same.
        """
        saved = state_dict.get(prefix + "vocabulary_checksum")
        if saved is not None and int(saved) != int(self.vocabulary_checksum):
            raise ValueError(
                "expected weights trained with this vocabulary"
                f" ({len(self.vocabulary)} words), got another one's checksum {int(saved)};"
                " use the package version and keywords of the bundle they belong to"
            )
        own = self.keywords_checksum.detach().clone()
        saved = state_dict.setdefault(prefix + "keywords_checksum", own)
        if int(saved) != int(own):
            raise ValueError(
                f"expected weights of the keywords {list(self.keywords)} in this order, got weights of"
                " other labels of the same words; give the keywords in the order of the bundle that the"
                " weights belong to"
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class ConceptTokenMapper(nn.Module):
    """Maps the class token of an ROI image to concept tokens in word-embedding space.

    Two layers with GELU and layer norm (the paper, section 2.2: 768 -> 512 -> 512).

    Args:
        embed_dim: width of the class token.
        token_dim: width of the word embeddings.
        hidden_dim: width of the hidden layer.
        num_tokens: concept tokens per ROI.
    """

    def __init__(
        self, embed_dim: int, token_dim: int, hidden_dim: int = 512, num_tokens: int = 1
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(),
            nn.LayerNorm(hidden_dim),
            nn.Linear(hidden_dim, num_tokens * token_dim),
        )
        self.layer_norm = nn.LayerNorm(token_dim)

    def forward(self, class_token: Tensor) -> Tensor:
        """Map class tokens (N, D) to concept tokens (N, T, token_dim)."""
        tokens = self.layers(class_token).unflatten(-1, (self.num_tokens, -1))
        return self.layer_norm(tokens)
