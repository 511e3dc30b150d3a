"""Weights to go on from: a shared bundle's, for one's own cases and one's own labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .prompts import CompactTextEncoder
from .state import read_state

logger = logging.getLogger(__name__)

_PER_LABEL = ("student.keyword_embedding", "null_embedding")
_WORDS, _CHECKSUM = "text_encoder.word_embedding.weight", "text_encoder.vocabulary_checksum"
_ORDER = "text_encoder.keywords_checksum"  # not in weights of earlier versions


class OtherNetworkError(ValueError):
    """Weights of another network than the one that shall start from them."""


def load_start_weights(
    network: nn.Module, path: str | Path, keywords: Sequence[str] | None = None
) -> None:
    """Load weights of the same network into `network`, in place; its labels may be others.

    What belongs to a label or to a word of the prompts goes to the label or word of the same name. A
    label that the weights do not know starts from the mean of those they know, a new word afresh.

    Args:
        network: a `ConceptSegNet`, or another network with `keywords`.
        path: file of weights, such as a bundle's models/model.pt.
        keywords: the labels that the weights know, in the order of their values; None: the network's.

    Raises:
        FileNotFoundError: if there is no such file.
        OtherNetworkError: if the weights are another network's.
        ValueError: if their keywords are not the ones given, in this order.

    Example::

        load_start_weights(network, "models/model.pt", ["anterior hippocampus", "posterior hippocampus"])
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"expected start_weights as a file of weights, got {path}")
    state = read_state(path)
    known = tuple(network.keywords if keywords is None else keywords)
    own = network.state_dict()
    for name in _PER_LABEL:
        if name in state and name in own and len(own[name]) == len(network.keywords):
            state[name] = _by_label(state[name], known, network.keywords)
    encoder = getattr(network, "text_encoder", None)
    try:
        if isinstance(encoder, CompactTextEncoder) and _CHECKSUM in state:
            _move_words(state, own, encoder, known)
        network.load_state_dict(state)
    except RuntimeError:  # its message is a page of sizes
        raise OtherNetworkError(
            f"expected start_weights of this network, got another's in {path}; network_def, and"
            " slice_context or image channels, must be those they were trained with"
        ) from None
    logger.info("training starts from %s, which knows %s", path, ", ".join(known))


def _by_label(rows: Tensor, known: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Rows (len(known), ...) in the order of `wanted`; the mean for labels that are not known."""
    if len(rows) != len(known):
        raise _other_keywords(known, f"weights for {len(rows)}")
    mean = rows.mean(dim=0)
    return torch.stack([rows[known.index(k)] if k in known else mean for k in wanted])


def _move_words(
    state: dict[str, Tensor],
    own: Mapping[str, Tensor],
    encoder: CompactTextEncoder,
    known: Sequence[str],
) -> None:
    """Replace word embeddings by those of `encoder`'s vocabulary, in `state`."""
    saved = encoder.vocabulary_of(known, encoder.descriptors)
    if int(state[_CHECKSUM]) != encoder.checksum_of(saved):
        raise _other_keywords(known, "weights with another vocabulary")
    if _ORDER in state and int(state[_ORDER]) != encoder.keywords_checksum_of(known):
        raise _other_keywords(
            known, "weights that know these words as other labels or in another order"
        )
    words = own[_WORDS].clone()
    for i, word in enumerate(encoder.vocabulary):
        if word in saved:
            words[i] = state[_WORDS][saved.index(word)]
    state |= {_WORDS: words, _CHECKSUM: own[_CHECKSUM], _ORDER: own[_ORDER]}


def _other_keywords(known: Sequence[str], got: str) -> ValueError:
    """The error for keywords that do not belong to the weights."""
    return ValueError(
        f"expected start_weights that know {list(known)}, got {got}; give the keywords they were trained"
        " with (the bundle's train.yaml names them) as start_keywords, to new_bundle.py as"
        " --weights_labels"
    )
