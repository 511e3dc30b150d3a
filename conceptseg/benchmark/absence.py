"""Absent classes: does a prompt for what is not there give an empty mask?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from ..concepts import concepts_to_sentence
from ..negatives import parts_beside, scaled_part
from .asking import ask, describe
from .testing import TestCase, Tester


def absent_class(tester: Tester, cases: Sequence[TestCase]) -> list[dict[str, Any]]:
    """One row per prompt for a label in an image that does not hold it.

    The images are those whose reference lacks the label, and the largest part of every other image
    that lies beside the label, scaled up to the image's size (volumes: cropped). Each is asked
    text-free, by the keyword, and with the sentence that described the label where it was.
    """
    rows = []
    for case in cases:
        for value, keyword in enumerate(tester.network.keywords, start=1):
            mask = np.asarray(case.label)[0] == value
            image = case.image if not mask.any() else beside(case.image, mask)
            if image is None:
                continue
            sentences = {"text_free": None, "keyword": keyword}
            if mask.any():
                sentences["sentence"] = concepts_to_sentence(describe(case.image, mask, keyword))
            kind = "part" if mask.any() else "whole"
            rows += [
                {"case": case.name, "label": keyword, "set": kind, **row}
                for row in _rows(tester, image, keyword, sentences)
            ]
    return rows


def _rows(
    tester: Tester, image: Tensor, keyword: str, sentences: dict[str, str | None]
) -> Iterator[dict[str, Any]]:
    """One row per sentence."""
    encoded = tester.inferer.encode(image.to(tester.device), tester.network)
    threshold = getattr(tester.network, "presence_threshold", 0.5)
    for name, sentence in sentences.items():
        answer = ask(tester, encoded, keyword, sentence)
        empty = not answer.mask.any()
        yield {
            "prompt": name,
            "presence": round(answer.presence, 4),
            "empty": empty,
            "silent": empty and answer.presence < threshold,
        }


def beside(image: Tensor, mask: np.ndarray) -> Tensor | None:
    """The largest part of `image` (C, *spatial) on one side of `mask`'s box; None if all are narrow.

    A part of a 2-D image is scaled to the image's size.
    """
    parts = parts_beside(mask)
    if not parts:
        return None
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    axis, start, length = parts[0]
    if mask.ndim == 2:
        part = scaled_part(plain, axis, start, length)
    else:
        part = plain.narrow(axis + 1, start, length)
    return MetaTensor(torch.as_tensor(part), meta=getattr(image, "meta", None))
