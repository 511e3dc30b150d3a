"""PyTorch, ONNX and int8 side by side on real cases: logits, masks, Dice, interleaved seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from .evaluation import evaluate_case
from .inferer import ConceptInferer
from .network import ConceptSegNet
from .onnx_export import TextFreePath
from .onnx_inferer import OnnxInferer, open_session
from .state import read_state


@dataclass
class Comparison:
    """What was found for one runtime against PyTorch, a value per case.

    Attributes:
        logits: largest absolute difference of the logits, over the slices of the case.
        same_mask: share of pixels or voxels with the same label.
        dice: against the reference, mean over labels; empty without references.
        seconds: of `predict_batch`.
    """

    logits: list[float] = field(default_factory=list)
    same_mask: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class InputRecorder:
    """A network that keeps the batches its encoder was given.

    Args:
        network: does the work.
    """

    def __init__(self, network: ConceptSegNet) -> None:
        self._network = network
        self.batches: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the network's."""
        return getattr(self._network, name)

    def encode_image(self, image: Tensor) -> Any:
        """Keep `image` (B, C, H, W) and encode it."""
        self.batches.append(image)
        return self._network.encode_image(image)


def network_inputs(
    inferer: ConceptInferer, network: ConceptSegNet, images: Iterable[Tensor], every: int = 1
) -> list[np.ndarray]:
    """Batches (B, C, H, W) that the encoder sees for `images` (C, *spatial), every n-th row of them."""
    recorder = InputRecorder(network)
    for image in images:
        inferer.encode(image, recorder)
    return [np.ascontiguousarray(batch[::every].numpy()) for batch in recorder.batches]


def load_network(parser: ConfigParser, weights: str | Path | None = None) -> ConceptSegNet:
    """The bundle's network on the CPU, with `weights` (default: models/model.pt of the bundle)."""
    path = Path(weights or Path(parser.get_parsed_content("bundle_root")) / "models" / "model.pt")
    if not path.is_file():
        raise FileNotFoundError(f"Expected weights at '{path}', got no file. Give --weights FILE.")
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(read_state(path))
    return network.eval()


def read_train_config(bundle: Path, **changes: Any) -> ConfigParser:
    """Parser of the bundle's train config, nothing cached, on the CPU."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    changes = {"bundle_root": str(bundle), "cache_rate": 0, "device": "$torch.device('cpu')"} | {
        key: value for key, value in changes.items() if value is not None
    }
    for key, value in changes.items():
        parser[key] = value
    return parser


def section_cases(parser: ConfigParser, section: str, count: int | None = None) -> list[dict]:
    """Preprocessed cases {"image", "label"} of one section, evenly spread when there are more."""
    parser["validate#data#section"] = section
    parser.parse(True)
    dataset = parser.get_parsed_content("validate#dataset")
    total = len(dataset)
    count = total if count is None else min(count, total)
    chosen = np.linspace(0, total - 1, count).round().astype(int)
    return [dataset[int(index)] for index in chosen]


def compare(
    network: ConceptSegNet,
    inferer: ConceptInferer,
    models: Mapping[str, str | Path],
    cases: Sequence[Mapping[str, Any]],
    repeats: int = 3,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Comparison]:
    """Run every case with every runtime in turn, so that a busy machine slows all alike.

    Args:
        network: with weights.
        inferer: the PyTorch one.
        models: name -> ONNX file.
        cases: with "image" (C, *spatial), preprocessed, and "label" (1, *spatial) where known.
        repeats: rounds of timing; the first, which warms up, is not counted.
        arguments: of `OnnxInferer`, as the PyTorch inferer has them.

    Returns:
        "pytorch" and the models' names -> what was found.
    """
    runners = {"pytorch": inferer}
    runners |= {name: OnnxInferer(str(path), **(arguments or {})) for name, path in models.items()}
    sessions = {name: open_session(path) for name, path in models.items()}
    results = {name: Comparison() for name in runners}
    for case in cases:
        image = torch.as_tensor(case["image"])[None]
        masks, seconds = {}, {name: [] for name in runners}
        for _ in range(repeats + 1):
            for name, runner in runners.items():
                start = time.perf_counter()
                prediction = runner.predict_batch(image, network)[0]
                seconds[name].append(time.perf_counter() - start)
                masks[name] = prediction.with_background().argmax(dim=0).numpy()
        for name, result in results.items():
            result.seconds.append(statistics.median(seconds[name][1:]))
            result.same_mask.append(float((masks[name] == masks["pytorch"]).mean()))
            if "label" in case:
                label = np.asarray(case["label"])[0].astype(np.uint8)
                rows = evaluate_case(masks[name].astype(np.uint8), label, network.keywords)
                result.dice.append(float(np.mean([row["dice"] for row in rows])))
        batches = network_inputs(_padded(inferer, sessions), network, [image[0]])
        for name, session in sessions.items():
            results[name].logits.append(logit_difference(network, session, batches))
    return results


def _padded(inferer: ConceptInferer, sessions: Mapping[str, Any]) -> ConceptInferer:
    """The inferer padding to the models' size."""
    sizes = [session.get_inputs()[0].shape[2] for session in sessions.values()]
    return inferer.copy(minimum_size=max([inferer.minimum_size, *sizes]))


@torch.no_grad()
def logit_difference(network: ConceptSegNet, session: Any, batches: Iterable[np.ndarray]) -> float:
    """Largest absolute difference of the mask logits between PyTorch and a session."""
    path = TextFreePath(network).eval()
    largest = 0.0
    for batch in batches:
        expected = path(torch.from_numpy(batch))[0].numpy()
        found = session.run(["logits"], {"image": batch})[0]
        largest = max(largest, float(np.abs(expected - found).max()))
    return largest


def table(results: Mapping[str, Comparison]) -> list[dict[str, Any]]:
    """One row per runtime: largest logit difference, masks, Dice, and speed relative to PyTorch."""
    base = results["pytorch"]
    rows = []
    for name, found in results.items():
        ratios = [a / b for a, b in zip(base.seconds, found.seconds, strict=True)]
        row = {
            "runtime": name,
            "max_logit_difference": max(found.logits, default=0.0),
            "identical_masks": f"{sum(s == 1 for s in found.same_mask)}/{len(found.same_mask)}",
            "least_agreement": min(found.same_mask),
            "speed_ratio": statistics.median(ratios),
        }
        if found.dice:
            loss = [b - f for b, f in zip(base.dice, found.dice, strict=True)]
            row |= {"dice": float(np.mean(found.dice)), "dice_loss": float(np.mean(loss))}
            row["worst_dice_loss"] = max(loss)
        rows.append(row)
    return rows
