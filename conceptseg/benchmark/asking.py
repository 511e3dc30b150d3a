"""Asking a tested network as a user would: prompts as text, refusals and warnings noted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..concepts import Concepts, MeasuredConcepts, component_masks, parse_prompt
from ..grid import directions_of
from ..prediction import EncodedImage, Prediction
from .testing import Tester

MIN_PART = 0.02  # parts smaller than this share of the largest are specks, as for "number"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        mask: (*spatial) bool, of the label asked for.
        presence: probability that it is there.
        refused: the prompt held unknown words; the mask is that of the prompt without them.
        warned: the prompt was answered with a warning, or refused.
    """

    mask: np.ndarray
    presence: float
    refused: bool = False
    warned: bool = False


def ask(tester: Tester, encoded: EncodedImage, keyword: str, prompt: str | None = None) -> Answer:
    """Decode one prompt (None: text-free) from an encoded image and give the label's mask.

    A prompt that the product refuses for unknown words is asked again without them.

    Raises:
        ValueError: if nothing understood is left of it.
    """
    refused = False
    free = tester.inferer.copy(prompt=None)
    if prompt is None:
        prediction = free.decode(encoded, tester.network)
    else:
        try:
            prediction = free.decode(encoded, tester.network, prompt=prompt)
        except ValueError:
            refused = True
            prediction = free.decode(encoded, tester.network, prompt=known_part(prompt, tester))
    return _answer(tester, prediction, keyword, refused)


def known_part(prompt: str, tester: Tester) -> str:
    """The prompt without the words that are not understood; the keywords if nothing is left."""
    unknown = parse_prompt(prompt, tester.network.keywords).unknown_words
    if unknown:
        pattern = "|".join(re.escape(word) for word in sorted(unknown, key=len, reverse=True))
        prompt = re.sub(rf"(?<!\w)({pattern})(?!\w)", " ", prompt.lower())
    return prompt if re.search(r"\w", prompt) else ", ".join(tester.network.keywords)


def _answer(tester: Tester, prediction: Prediction, keyword: str, refused: bool) -> Answer:
    """The label's part of a prediction, post-processed."""
    index = tester.network.keywords.index(keyword)
    (label_map,) = tester.label_maps(dict.fromkeys(tester.conditions[:1], prediction)).values()
    warned = refused or bool(prediction.warnings)
    return Answer(label_map == index + 1, float(prediction.presence[index]), refused, warned)


def plain_image(image: Tensor) -> np.ndarray:
    """(C, *spatial) as colours in [0, 1], or as one grey channel."""
    array = np.asarray(image)
    return array if array.shape[0] == 3 else array[:1]


def describe(image: Tensor, mask: np.ndarray, keyword: str) -> Concepts:
    """Concepts measured on `mask` (*spatial) of `image` (C, *spatial)."""
    return MeasuredConcepts()(plain_image(image), mask, keyword, directions_of(image))


def parts_by_place(image: Tensor, mask: np.ndarray, keyword: str) -> dict[str, np.ndarray]:
    """Location word -> objects of `mask` there, joined."""
    places: dict[str, np.ndarray] = {}
    for part in component_masks(mask, MIN_PART):
        place = describe(image, part, keyword).location
        places[place] = places[place] | part if place in places else part
    return places
