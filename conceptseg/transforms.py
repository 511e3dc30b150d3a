"""Dictionary transform: labels and their measured concepts become prompts to train on."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch import Tensor

from .concepts import ATTRIBUTES, Concepts, MeasuredConcepts, component_masks, concepts_to_sentence
from .concepts.descriptors import Descriptors
from .concepts.paraphrase import paraphrase
from .extraction.recorded import RecordedConcepts
from .readout import attribute_indices

DROPPABLE = ("number", "location", "shape", "size", "color", "intensity")
CORRECTABLE = ("shape", "size", "color", "intensity")  # by an annotator; augmentation keeps them
MODES = ("student", "text", "mixture", "null")


class ConceptPromptd(Randomizable, Transform):
    """Measures concepts on the (already augmented) label and draws what the network trains on.

    For each image a mode is drawn. *student*: the decoder sees the student alone. *text*: it sees the
    prompt alone; the prompt may describe one of several objects, and then that object is the target, or
    name a place where there is none, and then the target is empty. *mixture*: both, at a random share,
    or at the learned share with `learned_noise`. *null*: it sees the embedding that says nothing.
    Attributes are left out of the sentence at random, so that partial prompts work.

    Args:
        keywords: one per label value 1..K.
        image_key: (C, H, W); for stacked slices the middle channel is the image.
        label_key: (1, H, W) integer label map.
        directions: words for the two axes, or None: read from data["directions"].
        color: the image is RGB in [0, 1]; otherwise grey.
        mode_shares: probability of each of student, text, mixture, null.
        attribute_dropout: probability with which each attribute is left out.
        token_share: probability that a prompt carries the concept token of its region.
        component_share: probability, in mode text with several objects, of asking for one of them.
        contradiction_share: probability, in mode text, of naming a wrong place; where it is high, true
            prompts are taken for wrong ones.
        learned_noise: mixtures use the learned share (the paper's) in place of a random one.
        short_share: probability of saying the keyword alone, or keyword and location alone.
        recorded: concepts of whole labels from a concept file; None: measured. Prompts that ask for a
            part, or for what is not there, speak of the mask, and are measured in any case.
        descriptors: closed lists of the text encoder's, to say what `recorded` knows of them.
        paraphrase_share: probability with which words are exchanged for synonyms; for text encoders of
            open vocabulary (the compact one knows the canonical words alone).
        paired: decode every image a second time, by the student alone with the whole label for a target,
            so that each image teaches text-free masks whatever mode is drawn.

    Adds to the dictionary: "mask" (K, H, W) float, "prompt" K lines, "teacher_share" scalar,
    "use_concept_token" (K,) bool, "null" bool, "faithful" (K,) bool (the prompt describes the whole
    label), "attributes" (K, A) int64 indices of the whole label's concepts, -1 where unknown, and if
    `paired` "whole_mask" (K, H, W). Reads and removes "corrected_concepts", JSON of what an annotator said in place of what is measured: label
    name -> attribute -> value. Place and number are not taken from it, because augmentation moves and
    crops what it speaks of.
    """

    def __init__(
        self,
        keywords: Sequence[str],
        image_key: str = "image",
        label_key: str = "label",
        directions: Sequence[str] | None = None,
        color: bool = False,
        mode_shares: Sequence[float] = (0.5, 0.25, 0.15, 0.1),
        attribute_dropout: float = 0.3,
        token_share: float = 0.5,
        component_share: float = 0.5,
        contradiction_share: float = 0.05,
        learned_noise: bool = False,
        short_share: float = 0.25,
        recorded: RecordedConcepts | None = None,
        descriptors: Descriptors | None = None,
        paraphrase_share: float = 0.0,
        paired: bool = False,
    ) -> None:
        if len(mode_shares) != len(MODES) or abs(sum(mode_shares) - 1) > 1e-6:
            raise ValueError(
                f"expected {len(MODES)} mode shares {MODES} with sum 1, got {list(mode_shares)}"
            )
        self.keywords = tuple(keywords)
        self.image_key = image_key
        self.label_key = label_key
        self.directions = None if directions is None else tuple(directions)
        self.color = color
        self.mode_shares = tuple(mode_shares)
        self.attribute_dropout = attribute_dropout
        self.token_share = token_share
        self.component_share = component_share
        self.contradiction_share = contradiction_share
        self.learned_noise = learned_noise
        self.short_share = short_share
        self.recorded = recorded
        self.descriptors = dict(descriptors or {})
        self.paraphrase_share = paraphrase_share
        self.paired = paired
        self.source = MeasuredConcepts()

    def __call__(self, data: dict[Hashable, Tensor]) -> dict:
        """Add the training targets to `data`; see the class."""
        data = dict(data)
        image = np.asarray(data[self.image_key])
        label = np.asarray(data[self.label_key])[0]
        if not self.color:
            middle = image.shape[0] // 2
            image = image[middle : middle + 1]
        directions = self.directions or tuple(data["directions"].split(","))
        corrected = json.loads(data.pop("corrected_concepts", "") or "{}")
        mode = MODES[int(self.R.choice(len(MODES), p=self.mode_shares))]
        masks, prompts, faithful, attributes, tokens = [], [], [], [], []
        for value, keyword in enumerate(self.keywords, start=1):
            mask = label == value
            concepts, said = self._describe(image, mask, keyword, directions, data[self.image_key])
            if mask.any():
                fixed = corrected.get(keyword, {})
                kept = {name: fixed[name] for name in CORRECTABLE if name in fixed}
                concepts = concepts.model_copy(update=kept)
            attributes.append(attribute_indices(concepts, said, self.descriptors))
            mask, spoken, whole, place = self._ask(image, mask, concepts, directions, mode)
            masks.append(mask)
            said = self._descriptors(said, spoken, concepts)
            prompts.append(self._sentence(spoken, place, said))
            faithful.append(whole)
            tokens.append(bool(mask.any()) and self.R.rand() < self.token_share)
        data["mask"] = torch.as_tensor(np.stack(masks).astype(np.float32))
        if self.paired:
            whole_mask = label == np.arange(1, len(self.keywords) + 1)[:, None, None]
            data["whole_mask"] = torch.as_tensor(whole_mask.astype(np.float32))
        data["prompt"] = "\n".join(prompts)
        data["teacher_share"] = torch.tensor(self._share(mode), dtype=torch.float32)
        data["use_concept_token"] = torch.tensor(tokens)
        data["null"] = torch.tensor(mode == "null")
        data["faithful"] = torch.tensor(faithful)
        data["attributes"] = torch.tensor(attributes)
        return data

    def _describe(
        self, image: np.ndarray, mask: np.ndarray, keyword: str, directions: tuple, original: Tensor
    ) -> tuple[Concepts, dict[str, str]]:
        """Concepts and descriptors of one whole label."""
        if self.recorded is None:
            return self.source(image, mask, keyword, directions), {}
        concepts, said = self.recorded(image, mask, keyword, directions, original)
        return concepts, {k: v for k, v in said.items() if k in self.descriptors}

    def _descriptors(
        self, said: dict[str, str], spoken: Concepts, whole: Concepts
    ) -> dict[str, str]:
        """Descriptors to say: the label's own; none of a part; any of what is not there."""
        if spoken is whole or spoken.model_copy(update={"location": whole.location}) == whole:
            return said
        if whole.number or self.recorded is None:
            return {}
        return {name: str(self.R.choice(values)) for name, values in self.descriptors.items()}

    def _share(self, mode: str) -> float:
        """Share of the teacher in what the decoder sees; NaN stands for the learned share."""
        if mode == "mixture":
            return float("nan") if self.learned_noise else float(self.R.rand())
        return 1.0 if mode == "text" else 0.0

    def _ask(
        self, image: np.ndarray, mask: np.ndarray, concepts: Concepts, directions: tuple, mode: str
    ) -> tuple[np.ndarray, Concepts, bool, bool]:
        """What to ask of one label: target mask, concepts to say, whether they describe the whole
        label, and whether the place must be said."""
        if mode != "text":
            return mask, concepts, True, False
        if not mask.any():
            return mask, self._imagined(concepts.keyword, directions), False, False
        if self.R.rand() < self.contradiction_share:
            wrong = self._empty_place(mask, concepts, directions)
            if wrong is not None:
                return (
                    np.zeros_like(mask),
                    concepts.model_copy(update={"location": wrong}),
                    False,
                    True,
                )
        if (concepts.number or 0) > 1 and self.R.rand() < self.component_share:
            parts = component_masks(mask)
            part = parts[int(self.R.randint(len(parts)))]
            spoken = self.source(image, part, concepts.keyword, directions)
            same_place = [
                p
                for p in parts
                if self.source(image, p, concepts.keyword, directions).location == spoken.location
            ]
            return np.any(same_place, axis=0), spoken, False, True
        return mask, concepts, True, False

    def _imagined(self, keyword: str, directions: tuple) -> Concepts:
        """What a user might say of an object that is not there: as much as of one that is."""
        cell = np.zeros((3, 3), dtype=bool)
        cell[tuple(self.R.randint(3, size=2))] = True
        drawn = {name: str(self.R.choice(ATTRIBUTES[name])) for name in ("shape", "size")}
        tone = "color" if self.color else "intensity"
        drawn[tone] = str(self.R.choice(ATTRIBUTES[tone]))
        place = self.source(None, cell, keyword, directions).location
        return Concepts(keyword=keyword, number=1, location=place, **drawn)

    def _empty_place(self, mask: np.ndarray, concepts: Concepts, directions: tuple) -> str | None:
        """A location whose cell, and so every object's centre, is free of the mask; None if there is none."""
        cells = []
        rows, columns = (np.array_split(np.arange(n), 3) for n in mask.shape)
        for row in rows:
            for column in columns:
                if len(row) and len(column) and not mask[np.ix_(row, column)].any():
                    cell = np.zeros_like(mask)
                    cell[np.ix_(row, column)] = True
                    cells.append(cell)
        if not cells:
            return None
        cell = cells[int(self.R.randint(len(cells)))]
        return self.source(None, cell, concepts.keyword, directions).location

    def _sentence(self, concepts: Concepts, place: bool, said: dict[str, str]) -> str:
        """The concepts as a sentence, attributes left out at random (the place never if it decides).

        Short prompts are drawn as often for what is there as for what is not, or their length would
        tell the network that an object is absent.
        """
        names = (*DROPPABLE, *said)
        drop = [name for name in names if self.R.rand() < self.attribute_dropout]
        if self.R.rand() < self.short_share:
            drop = list(names)
            place = place or self.R.rand() < 0.5
        if place and concepts.location is not None:
            drop = [name for name in drop if name != "location"]
        said = {name: value for name, value in said.items() if name not in drop}
        drop = [name for name in drop if name in ATTRIBUTES]
        sentence = concepts_to_sentence(concepts, drop=drop, descriptors=said)
        if self.paraphrase_share:
            sentence = paraphrase(sentence, concepts.keyword, self.R, self.paraphrase_share)
        return sentence
