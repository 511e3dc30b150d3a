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

logger = logging.getLogger(__name__)


class Proposals:
    """Masks on disk, one per image.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, image: str, file: str, facts: Mapping[str, Any]) -> None:
        """Keep the mask in `file` as what was proposed for an image.

        Args:
            image: name in the studies.
            file: mask file of an answer.
            facts: model, version and prompt it was made with.
        """
        with atomic_path(self._path(image)) as temporary:
            np.savez_compressed(temporary, mask=read_label(file), facts=json.dumps(dict(facts)))

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


def read_label(file: str) -> np.ndarray:
    """Label map (*spatial) uint8 of a file, axes of length 1 left out."""
    reader = ConceptImageReader(is_label=True)
    return np.squeeze(np.asarray(reader.get_data(reader.read(file))[0])[0]).astype(np.uint8)
