"""From a network and an image to a record: features, entropy, concepts of the mask, disagreement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..concepts import Concepts, concepts_to_sentence
from ..inferer import ConceptInferer
from ..network import ConceptSegNet
from ..prediction import EncodedImage, Prediction
from ..uncertainty import size_normalised_entropy
from .measuring import measured_indices
from .records import ATTRIBUTE_NAMES, UNKNOWN, CaseRecord

# What is said of a read-out, in several ways: everything, the place alone, the looks alone. Synonyms
# would change nothing, because prompts are brought to one vocabulary before they are encoded.
SAYINGS = (
    ("number", "location", "shape", "size", "color", "intensity"),
    ("location",),
    ("shape", "size", "color", "intensity"),
)


class CaseScorer:
    """Scores images with the bundle's own network and inferer.

    Args:
        network: in evaluation mode.
        inferer: of the bundle, text-free.
        disagreement: also decode under the read-out concepts, which costs one decoding per saying.

    Example::

        record = CaseScorer(network, inferer).score("case_1", image)  # image (C, *spatial)
        record.entropy.shape  # (K,)
    """

    def __init__(
        self, network: ConceptSegNet, inferer: ConceptInferer, disagreement: bool = True
    ) -> None:
        self.network = network
        self.inferer = inferer.copy(prompt=None, prompt_strength=1.0)
        self.disagreement = disagreement

    @torch.no_grad()
    def score(self, name: str, image: Tensor) -> CaseRecord:
        """The record of one preprocessed image (C, W, H) or volume (C, X, Y, Z)."""
        encoded = self.inferer.encode(image, self.network)
        free = self.inferer.decode(encoded, self.network)
        students = torch.cat([b.student for _, batches, _ in encoded.stacks for b in batches])
        spatial = tuple(range(1, free.probabilities.ndim))
        record = CaseRecord(
            name=name,
            encoder=_encoder_feature(encoded),
            student=_numbers(students.mean(dim=0)),
            entropy=_numbers(size_normalised_entropy(free)),
            foreground=_numbers((free.probabilities > 0.5).float().mean(dim=spatial)),
            concepts=self._concepts(image, free),
            disagreement=self._disagreement(encoded, free) if self.disagreement else None,
        )
        return CaseRecord.from_json(
            record.to_json()
        )  # as it comes back from a file: picks stay the same

    def _concepts(self, image: Tensor, free: Prediction) -> np.ndarray:
        """(K, A) concepts measured in the predicted mask, as they are in an annotator's label.

        Early networks read nearly every object alike from the student embedding; their masks differ.
        Masks of a network that was never trained show nothing: all unknown.
        """
        if not self.network.readout.seen.any():
            return np.full((len(self.network.keywords), len(ATTRIBUTE_NAMES)), UNKNOWN)
        return measured_indices(
            image.cpu().numpy(),
            free.with_background().argmax(dim=0).cpu().numpy(),
            self.network.keywords,
            self.inferer.slice_axes[0],
        )

    def _disagreement(self, encoded: EncodedImage, free: Prediction) -> np.ndarray:
        """(K,) mean soft distance of the text-free mask to the masks under each saying."""
        total = np.zeros(len(self.network.keywords), dtype=np.float32)
        for attributes in SAYINGS:
            sentences = [
                _sentence(keyword, readout, attributes)
                for keyword, readout in zip(self.network.keywords, free.readout, strict=True)
            ]
            teacher = self.network.encode_prompts(sentences)  # (K, E)
            teachers = [
                teacher.expand(sum(len(b.student) for b in batches), -1, -1)
                for _, batches, _ in encoded.stacks
            ]
            told = self.inferer.decode(encoded, self.network, teachers=teachers)
            total += _numbers(soft_distance(free.probabilities, told.probabilities))
        return total / len(SAYINGS)


def soft_distance(first: Tensor, second: Tensor) -> Tensor:
    """One minus the soft Dice (K,) of probabilities (K, *spatial); 0 where both are empty."""
    spatial = tuple(range(1, first.ndim))
    shared = torch.minimum(first, second).sum(dim=spatial)
    both = first.sum(dim=spatial) + second.sum(dim=spatial)
    return 1 - (2 * shared + 1) / (both + 1)


def _sentence(keyword: str, readout: Mapping[str, Mapping], attributes: tuple[str, ...]) -> str:
    """What is said of one label; side and level describe a volume, no slice, and are left out."""
    said = {n: readout[n]["value"] for n in attributes if n in readout}
    if "number" in said:
        number = said["number"]
        said["number"] = 4 if number == "many" else max(1, int(number))
    return concepts_to_sentence(Concepts(keyword=keyword, **said))


def _encoder_feature(encoded: EncodedImage) -> np.ndarray:
    """(F,) class token and mean of every feature map, averaged over all slices."""
    parts = []
    for _, batches, _ in encoded.stacks:
        for batch in batches:
            maps = [m.float().mean(dim=(2, 3)) for m in batch.backbone.features]
            parts.append(torch.cat([batch.backbone.class_token.float(), *maps], dim=1))
    return _numbers(torch.cat(parts).mean(dim=0))


def _numbers(values: Tensor) -> np.ndarray:
    """A tensor as float32 in numpy."""
    return values.float().cpu().numpy().astype(np.float32)


def score_cases(
    scorer: CaseScorer,
    cases: Iterable[tuple[str, Callable[[], Tensor]]],
    known: Mapping[str, CaseRecord] | None = None,
    keep: Callable[[CaseRecord], None] | None = None,
) -> dict[str, CaseRecord]:
    """Records of all cases; those known already are not computed again.

    Args:
        scorer: of one model version.
        cases: name and a function that gives the preprocessed image, called only when needed.
        known: records of an earlier, unfinished run with the same model version.
        keep: called with each new record, such as `ScoreFile.add`.
    """
    records = dict(known or {})
    for name, load in cases:
        if name not in records or (scorer.disagreement and records[name].disagreement is None):
            records[name] = scorer.score(name, load())
            if keep is not None:
                keep(records[name])
    return records
