"""What joins the network to MONAI's trainer and evaluator: batches and iterations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.inferers import SimpleInferer
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from .evaluation import CONDITIONS
from .inferer import ConceptInferer
from .network import ConceptSegNet
from .oracle import oracle_embeddings
from .prediction import EncodedImage
from .uncertainty import uncertainty

# Voxels times cutting axes up to which a volume's encoding is kept: a few hundred bytes for each.
KEPT_VOXELS = 2**20
TARGET_KEYS = (
    "mask",
    "prompt",
    "teacher_share",
    "use_concept_token",
    "null",
    "faithful",
    "attributes",
    "whole_mask",  # of paired decoding
)


def prepare_concept_batch(
    batch: dict[str, Any], device: str | torch.device, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, dict, tuple, dict]:
    """Split a training batch for `ConceptSegNet`: image, targets, and the targets as a keyword argument.

    Args:
        batch: collated output of `ConceptPromptd`.
        device: where to put the tensors.
        non_blocking: of `Tensor.to`.
        kwargs: not used; MONAI passes its own.
    """
    image = torch.as_tensor(batch[Keys.IMAGE]).to(device, non_blocking=non_blocking)
    if isinstance(image, MetaTensor):
        image = image.as_tensor()
    targets = {}
    for key in TARGET_KEYS:
        if key not in batch:
            continue
        value = batch[key]
        targets[key] = (
            value.to(device, non_blocking=non_blocking) if torch.is_tensor(value) else value
        )
    return image, targets, (), {"targets": targets}


class AutocastInferer(SimpleInferer):
    """Calls the network under autocast to bfloat16, which needs no gradient scaling, on CPU or GPU.

    Args:
        enabled: False computes in float32.
    """

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs: Tensor, network: Callable, *args: Any, **kwargs: Any) -> Any:
        """Network output with floating-point tensors back in float32."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return _to_float(network(inputs, *args, **kwargs))


def _to_float(value: Any) -> Any:
    """`value` with reduced-precision tensors, also inside dictionaries and lists, in float32."""
    if torch.is_tensor(value):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _to_float(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_to_float(v) for v in value]
    return value


def predict_iteration(engine: Engine, batch: dict[str, Any]) -> dict:
    """Inference step that keeps what a mask cannot hold: presence, read-out, prompts, seconds.

    For MONAI's `SupervisedEvaluator(iteration_update=...)` with a `ConceptInferer`. The output holds
    "image", "pred" (B, K + 1, *spatial) probabilities with background first, and "report", a JSON
    text per image.
    """
    image = batch[Keys.IMAGE].to(engine.state.device)
    engine.network.eval()
    start = time.perf_counter()
    predictions = engine.inferer.predict_batch(image, engine.network)
    seconds = (time.perf_counter() - start) / len(predictions)
    output = {
        Keys.IMAGE: image,
        Keys.PRED: _like(torch.stack([p.with_background() for p in predictions]), image),
        "report": [json.dumps(p.summary() | {"seconds": seconds}) for p in predictions],
    }
    return _completed(engine, output)


class EvaluationIteration:
    """Evaluation step: text-free, with the oracle prompt, and without any condition.

    The oracle prompt says the concepts measured on the reference; its row shows what a perfect
    prompt is worth and is never a result of the product. The output holds "image", "label" and, per
    condition, (B, K + 1, *spatial) probabilities under the condition's name; and with "text_free" also
    "uncertainty" (B, K) of its masks, unless the inferer knows no second way to a mask (ONNX).

    Args:
        conditions: those to evaluate, out of `CONDITIONS` of the evaluation.
    """

    def __init__(self, conditions: Sequence[str] = CONDITIONS) -> None:
        self.conditions = tuple(conditions)

    def __call__(self, engine: Engine, batch: dict[str, Any]) -> dict:
        """Decode every image under every condition."""
        image = batch[Keys.IMAGE].to(engine.state.device)
        label = batch[Keys.LABEL].to(engine.state.device)
        network = getattr(engine.network, "module", engine.network).eval()
        free, silent = engine.inferer.copy(prompt=None), engine.inferer.copy(condition="none")
        results = {name: [] for name in self.conditions}
        unsure = []
        for one, reference in zip(image, label, strict=True):
            encode = _encoder(one, network, free)
            for name in self.conditions:
                inferer = silent if name == "no_condition" else free
                encoded, teachers = encode(), None
                if name == "text_guided_oracle":
                    size = free.minimum_size
                    teachers = oracle_embeddings(
                        one, reference, encoded, network, minimum_size=size
                    )
                prediction = inferer.decode(encoded, network, teachers=teachers)
                results[name].append(prediction.with_background())
                if name == "text_free" and not free.text_free_only:
                    unsure.append(uncertainty(one, prediction, network, free))
        output = {Keys.IMAGE: image, Keys.LABEL: label}
        output |= {name: _like(torch.stack(preds), image) for name, preds in results.items()}
        if unsure:
            output["uncertainty"] = torch.tensor(unsure)
        return _completed(engine, output)


def _encoder(
    image: Tensor, network: ConceptSegNet, inferer: ConceptInferer
) -> Callable[[], EncodedImage]:
    """Give what encodes `image` (C, *spatial) for one decoding: at once for all, or anew each time.

    All feature maps of a large volume would take gigabytes.
    """
    is_large = image.ndim > 3 and image[0].numel() * len(inferer.slice_axes) > KEPT_VOXELS
    if is_large:
        return lambda: inferer.stream(image, network)
    encoded = inferer.encode(image, network)
    return lambda: encoded


def _like(pred: Tensor, image: Tensor) -> Tensor:
    """`pred` with the metadata of `image`, so that it can be saved and inverted."""
    if not isinstance(image, MetaTensor):
        return pred
    return MetaTensor(pred, meta=image.meta, applied_operations=image.applied_operations)


def _completed(engine: Engine, output: dict) -> dict:
    """Fire what MONAI's own iteration fires, so that post-processing runs."""
    engine.state.output = output
    engine.fire_event(IterationEvents.FORWARD_COMPLETED)
    engine.fire_event(IterationEvents.MODEL_COMPLETED)
    return engine.state.output
