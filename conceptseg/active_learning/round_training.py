"""One round of training and testing with the bundle's own train config, images kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from ..evaluation import evaluate_case
from ..grid import spacing_of
from ..image_formats import case_name
from ..network import ConceptSegNet
from ..training import set_epoch_length

logger = logging.getLogger(__name__)

OVERLAY = "active_learning.yaml"
_KEPT_HANDLER = "LrScheduleHandler"


class RoundTrainer:
    """Trains the bundle's network for a fixed number of iterations, whatever the number of cases.

    The config's network, loss, optimizer, schedule, augmentation and trainer are used as they are.
    What differs: cases come decoded from memory, and there is neither validation nor early stopping,
    because in a simulation labels for validation would be labels that were not paid for.

    Args:
        bundle: folder of the bundle.
        iterations: optimizer steps per round.
        short: also read configs/active_learning.yaml, small images and a small network for a CPU.
        overrides: config id -> value, such as {"keywords": ["wound"]}.
    """

    def __init__(
        self,
        bundle: Path,
        iterations: int,
        short: bool = True,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        if iterations < 1:
            raise ValueError(
                f"expected 1 iteration or more, got {iterations}; 300 is a short round"
            )
        self.files = [bundle / "configs" / "train.yaml"]
        if short:
            self.files.append(bundle / "configs" / OVERLAY)
        for file in self.files:
            if not file.is_file():
                raise FileNotFoundError(
                    f"expected '{file}', got no such file; choose another bundle"
                    " (or leave --short out)"
                )
        self.iterations = iterations
        self.overrides = {"bundle_root": str(bundle), **(overrides or {})}
        parser = self._parser()
        self.keywords: tuple[str, ...] = tuple(parser.get_parsed_content("keywords"))
        self.inferer = parser.get_parsed_content("inferer")
        self.device = parser.get_parsed_content("device")
        self.slice_axis = int(self.inferer.slice_axes[0])
        self._decoding = Compose(parser.get_parsed_content("train#deterministic_transforms"))

    def _parser(self) -> ConfigParser:
        """The bundle's config, not yet instantiated."""
        parser = ConfigParser()
        parser.read_config([str(file) for file in self.files])
        parser.update(self.overrides)
        return parser

    def decode(self, cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Read and preprocess cases {"image", "label"} once; gives "name", "image" and "label" tensors."""
        decoded = []
        for case in tqdm(cases, desc="reading images", unit="case", leave=False, mininterval=2):
            data = self._decoding({"image": case["image"], "label": case["label"]})
            decoded.append({"name": case_name(case["image"]), **data})
        return decoded

    def train(
        self,
        cases: Sequence[Mapping[str, Any]],
        seed: int,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> ConceptSegNet:
        """Train on decoded cases; gives the network in evaluation mode.

        Args:
            cases: what `decode` gave, at least 1.
            seed: of the fresh weights, the order of the cases and the augmentation.
            weights: to go on from; None: fresh ones.
        """
        parser = self._parser()
        handlers = [h for h in parser["train#handlers"] if h["_target_"] == _KEPT_HANDLER]
        parser.update(
            {
                "seed": seed,
                "max_epochs": 1,
                "num_workers": 0,
                "preflight": None,
                # a tuple is taken as it is; a list would be searched for references
                "train#data": tuple({k: case[k] for k in ("image", "label")} for case in cases),
                "train#deterministic_transforms": [],
                "train#dataset#progress": False,
                "train#handlers": handlers,
            }
        )
        set_epoch_length(parser, self.iterations)
        parser.get_parsed_content("initialize")
        network = parser.get_parsed_content("network")
        if weights is not None:
            network.load_state_dict(weights)
        quiet = logging.getLogger("monai.engines.trainer.SupervisedTrainer")
        trainer = parser.get_parsed_content("train#trainer")
        quiet.setLevel(logging.WARNING)
        trainer.run()
        return network.eval()

    def network(self, weights: Mapping[str, torch.Tensor]) -> ConceptSegNet:
        """The config's network with these weights, in evaluation mode."""
        network = self._parser().get_parsed_content("network")
        network.load_state_dict(weights)
        return network.eval()

    def test(
        self, network: ConceptSegNet, cases: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Rows of `evaluate_case` with "case", text-free, on the grid of the decoded cases."""
        rows = []
        for case in cases:
            image, label = case["image"], np.asarray(case["label"])[0]
            probabilities = self.inferer(image[None].to(self.device), network)[0]
            pred = probabilities.argmax(dim=0).cpu().numpy()
            spacing = spacing_of(image) if isinstance(image, MetaTensor) else None
            spacing = spacing if label.ndim == 3 else None  # photographs were resized
            found = evaluate_case(pred, label, self.keywords, spacing)
            rows += [{"case": case["name"], **row} for row in found]
        return rows
