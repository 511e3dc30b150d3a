"""The mask a model proposed last for each image; a label may be saved, and compared with it, several times."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conceptseg.atomic import atomic_path
from conceptseg.image_io import ConceptImageReader

from .bundle import Bundle
from .options import ALL_LABELS, read_label

logger = logging.getLogger(__name__)


class Proposals:
    """Masks on disk, one per image.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(
        self, image: str, file: str, facts: Mapping[str, Any], asked: Mapping[str, int]
    ) -> None:
        """Keep the mask in `file` as what was proposed for an image.

        An answer that is about some labels says nothing of the others: these stay as the same bundle
        has proposed them before.

        Args:
            image: name in the studies.
            file: mask file of an answer.
            facts: bundle, model, version and prompt it was made with; "labels" is added: name -> value
                of all labels that the kept mask tells of.
            asked: name -> value of the labels that the answer is about.
        """
        mask, values = map_of(file), dict(asked)
        old, said = self.of(image) or (None, {})
        if said.get("bundle") == facts["bundle"] and old.shape == mask.shape:
            others = {name: value for name, value in said["labels"].items() if name not in asked}
            kept = (mask == 0) & np.isin(old, list(others.values()))
            mask, values = np.where(kept, old, mask), others | values
        content = json.dumps({**facts, "labels": values})
        with atomic_path(self._path(image)) as temporary:
            np.savez_compressed(temporary, mask=mask, facts=content)

    def of(self, image: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """Mask (*spatial) and facts of an image, None where nothing was proposed."""
        path = self._path(image)
        if not path.is_file():
            return None
        try:
            with np.load(path) as content:
                return content["mask"], json.loads(str(content["facts"]))
        except (OSError, ValueError, KeyError):
            logger.warning("the proposal of '%s' cannot be read", image, exc_info=True)
            return None

    def _path(self, image: str) -> Path:
        """File of an image."""
        return self.folder / f"{image}.npz"


def asked_labels(
    request: Mapping[str, Any], params: Mapping[str, Any], bundle: Bundle
) -> dict[str, int]:
    """Name -> value of the labels that an answer is about; the others are empty in it.

    Args:
        request: of the inference; its option `label` may name one.
        params: of the answer; its "prompt" says what was asked.
        bundle: that answered.
    """
    prompt = params.get("prompt") or {}
    asked = prompt.get("asked", bundle.keywords)
    if prompt.get("used") in ("none", "concept"):  # clicks and classes do not heed the option
        wanted = read_label(request.get("label", ALL_LABELS), bundle)
        asked = [name for name in asked if name in wanted] or asked
    return {name: bundle.labels[name] for name in asked}


def map_of(file: str) -> np.ndarray:
    """Label map (*spatial) uint8 of a file, axes of length 1 left out."""
    reader = ConceptImageReader(is_label=True)
    return np.squeeze(np.asarray(reader.get_data(reader.read(file))[0])[0]).astype(np.uint8)
