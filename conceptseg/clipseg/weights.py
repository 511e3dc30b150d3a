"""Pretrained CLIPSeg weights: the one place of the package that reads or downloads them."""

from __future__ import annotations

import os
from operator import attrgetter

import torch
from torch import nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from .backbone import ClipSegBackbone
from .config import REFINED_CHECKPOINT
from .decoder import ClipSegMaskDecoder
from .text_encoder import ClipSegTextEncoder

_ENCODER = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_ENCODER += ("hidden_act", "layer_norm_eps")
# our module -> the checkpoint's
MODULES = {
    ClipSegBackbone: {"vision_model": "clip.vision_model"},
    ClipSegTextEncoder: {
        "text_model": "clip.text_model",
        "text_projection": "clip.text_projection",
    },
    ClipSegMaskDecoder: {"decoder": "decoder"},
}
# settings in which part and checkpoint must agree; some of them show in no parameter's shape
SETTINGS = {
    ClipSegBackbone: (
        "extract_layers",
        *(f"vision_config.{name}" for name in (*_ENCODER, "image_size", "patch_size")),
    ),
    ClipSegTextEncoder: (
        "projection_dim",
        *(f"text_config.{name}" for name in (*_ENCODER, "vocab_size", "max_position_embeddings")),
    ),
    ClipSegMaskDecoder: (
        "extract_layers",
        "projection_dim",
        "reduce_dim",
        "conditional_layer",
        "decoder_num_attention_heads",
        "decoder_intermediate_size",
        "use_complex_transposed_convolution",
        *(f"vision_config.{name}" for name in ("hidden_size", "patch_size", "layer_norm_eps")),
    ),
}


def load_pretrained_clipseg(
    network: nn.Module,
    source: str | os.PathLike = REFINED_CHECKPOINT,
    revision: str = "main",
    local_files_only: bool = False,
) -> nn.Module:
    """Fill the CLIPSeg parts of `network` with pretrained weights.

    What CLIPSeg does not have (stem, skip, all other parts) keeps its weights. From a hub, the
    tokenizer is fetched too, so that prompts work offline afterwards.

    Args:
        network: a network with CLIPSeg parts in it, or one such part.
        source: folder written by `save_pretrained` of transformers, or a hub id.
        revision: branch, tag or commit of a hub id.
        local_files_only: read a hub id from this machine's cache, without a connection.

    Returns:
        `network`.

    Raises:
        TypeError: if `network` holds no CLIPSeg part.
        FileNotFoundError: if there is no checkpoint at `source`.
        ValueError: if its settings or its keys are not those of the parts; nothing is loaded then.
    """
    parts = [
        (module, kind)
        for module in network.modules()
        for kind in MODULES
        if isinstance(module, kind)
    ]
    if not parts:
        names = ", ".join(kind.__name__ for kind in MODULES)
        raise TypeError(
            f"expected a network with one of {names} in it, got {type(network).__name__}"
        )
    source = os.fspath(source)
    model, report = _read_checkpoint(source, revision, local_files_only)
    for part, kind in parts:
        _check_settings(part, kind, model.config, source)
        _check_keys(kind, report, source)
    for part, kind in parts:
        for ours, theirs in MODULES[kind].items():
            getattr(part, ours).load_state_dict(model.get_submodule(theirs).state_dict())
        if isinstance(part, ClipSegTextEncoder) and not os.path.isdir(source):
            part.load_tokenizer(local_files_only)
    return network


def _read_checkpoint(
    source: str, revision: str, local_files_only: bool
) -> tuple[CLIPSegForImageSegmentation, dict]:
    """The checkpoint's model and what transformers reports about its keys."""
    try:
        return CLIPSegForImageSegmentation.from_pretrained(
            source,
            revision=revision,
            local_files_only=local_files_only,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except OSError as error:
        raise FileNotFoundError(
            f"expected a CLIPSeg checkpoint at {source!r}, found none; give a folder with"
            " config.json and model.safetensors, or a hub id that is cached or within reach"
        ) from error


def _check_settings(part: nn.Module, kind: type, config: CLIPSegConfig, source: str) -> None:
    """Raise ValueError unless `part` was built with the checkpoint's settings."""
    different = []
    for name in SETTINGS[kind]:
        ours, theirs = (attrgetter(name)(c) for c in (part.config, config))
        if name == "extract_layers":
            ours, theirs = list(ours), list(theirs)
        if ours != theirs:
            different.append(f"{name}: {ours} here, {theirs} there")
    if different:
        raise ValueError(
            f"expected a checkpoint with the settings of {kind.__name__}, got another at"
            f" {source!r} ({'; '.join(different)}); build the part with the checkpoint's settings"
        )


def _check_keys(kind: type, report: dict, source: str) -> None:
    """Raise ValueError if keys of a part are missing in the checkpoint or unknown to the part."""
    prefixes = tuple(f"{theirs}." for theirs in MODULES[kind].values())
    missing = sorted(key for key in report["missing_keys"] if key.startswith(prefixes))
    # older checkpoints store the position indices, which are no weights
    unexpected = sorted(
        key
        for key in report["unexpected_keys"]
        if key.startswith(prefixes) and not key.endswith(".position_ids")
    )
    if missing or unexpected:
        raise ValueError(
            f"expected all keys of {kind.__name__} and no others at {source!r}, got missing"
            f" {missing}, unexpected {unexpected}; use a checkpoint of CLIPSegForImageSegmentation"
        )
