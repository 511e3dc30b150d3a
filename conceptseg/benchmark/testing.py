"""Testing one checkpoint: cases as the bundle loads them, predictions as it post-processes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor, nn

from ..evaluation import evaluate_case
from ..grid import spacing_of
from ..image_formats import case_name
from ..inferer import ConceptInferer
from ..prediction import Prediction
from ..state import read_state
from ..uncertainty import uncertainty
from .conditions import TEXT_FREE, predict_conditions


@dataclass(frozen=True)
class TestCase:
    """A case on the network's grid: image (C, *spatial) and label (1, *spatial)."""

    __test__ = False  # no test class

    name: str
    image: Tensor
    label: Tensor


@dataclass
class Tester:
    """A trained network with its data.

    Attributes:
        network: in evaluation mode.
        inferer: the bundle's, text-free.
        dataset: items with "image" and "label".
        postprocessing: of dictionaries that hold every condition's probabilities.
        conditions: to test under.
        device: of the network.
    """

    network: nn.Module
    inferer: ConceptInferer
    dataset: Any
    postprocessing: Compose
    conditions: Sequence[str]
    device: torch.device

    def cases(self) -> Iterator[TestCase]:
        """The cases, one after the other."""
        for item in self.dataset:
            name = case_name(item["image"].meta["filename_or_obj"])
            yield TestCase(name, item["image"], item["label"])

    def judge(self, case: TestCase) -> dict[str, tuple[np.ndarray, list[dict[str, Any]]]]:
        """Label map (*spatial) uint8 and rows of metrics of one case under every condition.

        The text-free rows also hold the uncertainty.
        """
        image = case.image.to(self.device)
        predictions = predict_conditions(
            image,
            case.label.to(self.device),
            self.network,
            self.inferer,
            self.conditions,
        )
        maps = self.label_maps(predictions)
        label = case.label.cpu().numpy().astype(np.uint8)
        results = {}
        for name, prediction in predictions.items():
            rows = evaluate_case(maps[name], label, self.network.keywords, spacing_of(case.image))
            for row, presence in zip(rows, prediction.presence, strict=True):
                row["presence"] = round(float(presence), 4)
            if name == TEXT_FREE:
                unsure = uncertainty(image, prediction, self.network, self.inferer)
                for row, value in zip(rows, unsure, strict=True):
                    row["uncertainty"] = value
            results[name] = (maps[name], rows)
        return results

    def label_maps(self, predictions: dict[str, Prediction]) -> dict[str, np.ndarray]:
        """Post-processed label maps (*spatial) uint8; the names must be the tester's conditions."""
        raw = {name: p.with_background().cpu() for name, p in predictions.items()}
        done = self.postprocessing(raw)
        return {name: np.asarray(done[name])[0].astype(np.uint8) for name in predictions}


def load_tester(parser: ConfigParser, weights: Path, conditions: Sequence[str]) -> Tester:
    """A `Tester` from a config with the bundle's evaluate.yaml laid over it.

    Args:
        parser: not parsed yet.
        weights: state dict of the network.
        conditions: to test under.
    """
    parser["conditions"] = list(conditions)
    device = parser.get_parsed_content("device")
    network = parser.get_parsed_content("network")
    network.load_state_dict(read_state(weights))
    return Tester(
        network.eval(),
        parser.get_parsed_content("validate#inferer"),
        parser.get_parsed_content("validate#dataset"),
        parser.get_parsed_content("validate#postprocessing"),
        tuple(conditions),
        device,
    )
