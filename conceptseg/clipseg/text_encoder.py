"""CLIP's text transformer as a text encoder, with concept tokens among its word embeddings."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AddedToken, CLIPTokenizer
from transformers.models.clipseg.modeling_clipseg import CLIPSegTextModel

from ..concepts.descriptors import Descriptors
from ..prompts import TEMPLATE, TextEncoder, TokenizedPrompts, insert_concept_tokens
from .config import REFINED_CHECKPOINT, ConfigLike, clipseg_config

CONCEPT_TOKEN = "<concept>"  # the placeholder in CLIP's tokenizer, where "*" already is a word


def _causal_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask (N, 1, L, L): each token attends to itself and the attended ones before it."""
    length = attention_mask.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=attention_mask.device).tril()
    allowed = before & attention_mask[:, None, None, :]
    mask = torch.zeros(allowed.shape, dtype=dtype, device=attention_mask.device)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)


class ClipSegTextEncoder(TextEncoder):
    """CLIP's text transformer and projection; concept tokens replace a placeholder of its own id.

    Args:
        config: the backbone's; its `projection_dim` is the width E of the embedding.
        tokenizer: folder of a CLIP tokenizer, or a hub id whose files are on this machine (as after
            `load_pretrained_clipseg`). Read, never downloaded, when the first prompt is tokenized.
        frozen: exclude the encoder from training; gradients still reach the concept tokens.
        descriptors: closed lists of what prompts may say beside the attributes of `Concepts`.

    Example::

        encoder = ClipSegTextEncoder()
        tokens = encoder.tokenize(["1 small polyp"], num_placeholders=1)
        encoder(tokens.input_ids, tokens.attention_mask, torch.rand(1, 1, 512)).shape  # (1, 512)
    """

    def __init__(
        self,
        config: ConfigLike = None,
        tokenizer: str | os.PathLike = REFINED_CHECKPOINT,
        frozen: bool = True,
        descriptors: Descriptors | None = None,
    ) -> None:
        super().__init__()
        self.descriptors = dict(descriptors or {})
        self.config = clipseg_config(config)
        text_config = self.config.text_config
        self.token_dim = text_config.hidden_size
        self.embed_dim = self.config.projection_dim
        self.placeholder_id = text_config.vocab_size  # the first id above CLIP's own
        self.text_model = CLIPSegTextModel(text_config)
        self.text_projection = nn.Linear(self.token_dim, self.embed_dim, bias=False)
        nn.init.normal_(self.text_projection.weight, std=self.token_dim**-0.5)  # as in CLIPSegModel
        self.tokenizer_source = os.fspath(tokenizer)
        self._tokenizer: CLIPTokenizer | None = None
        if frozen:
            self.freeze()

    def freeze(self) -> None:
        """Exclude every parameter of the encoder from training."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ClipSegTextEncoder:
        """Set the mode of training; a frozen encoder stays in evaluation mode."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def load_tokenizer(self, local_files_only: bool = True) -> CLIPTokenizer:
        """The tokenizer with the placeholder added; read once.

        Args:
            local_files_only: False lets the files of a hub id be downloaded.

        Raises:
            FileNotFoundError: if the source holds none.
            ValueError: if its vocabulary is not the encoder's.
        """
        if self._tokenizer is not None:
            return self._tokenizer
        source, size = self.tokenizer_source, self.placeholder_id
        try:
            tokenizer = CLIPTokenizer.from_pretrained(source, local_files_only=local_files_only)
            if len(tokenizer) <= len(tokenizer.all_special_tokens):
                # what transformers makes of a folder or cache without the files, and no word of it
                raise OSError("no vocabulary")
        except OSError as error:
            raise FileNotFoundError(
                f"expected a CLIP tokenizer at {source!r}, found none here; give a folder"
                " with vocab.json and merges.txt, or call load_pretrained_clipseg once online"
            ) from error
        if len(tokenizer) != size:
            raise ValueError(
                f"expected a CLIP tokenizer of {size} tokens at {source!r}, got {len(tokenizer)};"
                " give the folder (vocab.json, merges.txt) that came with the encoder's weights"
            )
        tokenizer.padding_side = "right"
        tokenizer.add_tokens(AddedToken(CONCEPT_TOKEN, special=True, normalized=False))
        self._tokenizer = tokenizer
        return tokenizer

    def tokenize(self, prompts: Sequence[str], num_placeholders: int = 0) -> TokenizedPrompts:
        """See `TextEncoder.tokenize`; padded to the longest prompt only.

        CLIP spells what is no word of its vocabulary, so no word is reported as unknown.

        Raises:
            TypeError: for a single string.
            FileNotFoundError: if the tokenizer is not on this machine.
            ValueError: if a prompt is longer than the encoder reads.
        """
        if isinstance(prompts, str):
            raise TypeError(
                f"expected a sequence of prompts, got the string {prompts!r}; use a list"
            )
        start = " ".join([TEMPLATE, *[CONCEPT_TOKEN] * num_placeholders])
        texts = [f"{start} {prompt.replace(CONCEPT_TOKEN, ' ')}" for prompt in prompts]
        encoded = self.load_tokenizer()(texts, padding="longest", return_tensors="pt")
        length, limit = encoded.input_ids.shape[1], self.config.text_config.max_position_embeddings
        if length > limit:
            raise ValueError(
                f"expected a prompt of at most {limit} tokens, got {length}; shorten the sentence"
            )
        return TokenizedPrompts(
            encoded.input_ids, encoded.attention_mask.bool(), [[] for _ in prompts]
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, concept_tokens: Tensor | None = None
    ) -> Tensor:
        """See `TextEncoder.forward`.

        A masked placeholder takes no position either: the embedding is that of the prompt without
        it. It is read at the end of text, the last attended token. The published configuration
        gives that token the id 2, for which transformers takes the highest id of a prompt instead:
        wrong as soon as a token is added.
        """
        is_placeholder = input_ids == self.placeholder_id
        embeddings = self.text_model.embeddings
        words = embeddings.token_embedding(input_ids.masked_fill(is_placeholder, 0))  # (N, L, D)
        if concept_tokens is None:
            attention_mask = attention_mask & ~is_placeholder
        else:
            words = insert_concept_tokens(words, input_ids, self.placeholder_id, concept_tokens)
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        hidden = embeddings(inputs_embeds=words, position_ids=positions)
        mask = _causal_mask(attention_mask, hidden.dtype)
        for layer in self.text_model.encoder.layers:
            hidden = layer(hidden, attention_mask=mask)
        index = torch.arange(input_ids.shape[1], device=input_ids.device)
        end = (index * attention_mask).amax(dim=1)  # (N,)
        hidden = hidden[torch.arange(len(end), device=end.device), end]
        return self.text_projection(self.text_model.final_layer_norm(hidden))
