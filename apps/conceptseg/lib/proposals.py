"""The mask a model proposed last for each image; a label may be saved, and compared with it, several times."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from conceptseg.atomic import atomic_path
from conceptseg.image_formats import known_suffix
from conceptseg.image_io import ConceptImageReader

from .bundle import Bundle
from .options import ALL_LABELS, read_label

logger = logging.getLogger(__name__)


class Proposals:
    """Masks on disk, one per image, stored by a thread of their own: nobody waits for it.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._worker = ThreadPoolExecutor(1, "proposals")  # one: each builds on those before
        self._pending: dict[str, Future] = {}
        self._lock = threading.Lock()

    def keep(
        self, image: str, file: str, facts: Mapping[str, Any], asked: Mapping[str, int]
    ) -> None:
        """Keep the mask in `file` as what was proposed for an image; an error later on is logged.

        An answer that is about some labels says nothing of the others: these stay as the same bundle
        has proposed them before.

        Args:
            image: name in the studies.
            file: mask file of an answer; it may be removed or written anew afterwards.
            facts: bundle, model, version and prompt it was made with; "labels" is added: name -> value
                of all labels that the kept mask tells of.
            asked: name -> value of the labels that the answer is about.

        Raises:
            OSError: the file cannot be copied.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        copy = self.folder / f".{uuid.uuid4().hex}{known_suffix(file)}"
        shutil.copyfile(file, copy)
        with self._lock:
            self._pending[image] = self._worker.submit(
                self._store, image, copy, dict(facts), dict(asked)
            )

    def of(self, image: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """Mask (*spatial) and facts of an image, None where nothing was proposed."""
        with self._lock:
            pending = self._pending.get(image)
        if pending is not None:
            pending.result()
        found = self._read(image)
        if found is None:
            return None
        part, start, shape, facts = found
        mask = np.zeros(shape, part.dtype, order="F")
        mask[_box(start, part.shape)] = part
        return mask, facts

    def _store(self, image: str, file: Path, facts: dict[str, Any], asked: dict[str, int]) -> None:
        """Merge a mask with the one before, and write it; `file` is removed."""
        try:
            mask, values = map_of(str(file)), dict(asked)
            found = self._read(image)
            if found is not None:
                old, start, shape, said = found
                if said.get("bundle") == facts["bundle"] and tuple(shape) == mask.shape:
                    others = {name: v for name, v in said["labels"].items() if name not in asked}
                    part = mask[_box(start, old.shape)]  # a view
                    kept = (part == 0) & np.isin(old, list(others.values()))
                    part[kept] = old[kept]
                    values = others | values
            self._write(image, mask, facts | {"labels": values})
        except Exception:
            logger.warning("the proposal for '%s' is not kept", image, exc_info=True)
        finally:
            file.unlink(missing_ok=True)

    def _write(self, image: str, mask: np.ndarray, facts: Mapping[str, Any]) -> None:
        """Write a mask, of which the box around the labels is enough."""
        box = box_around(mask)
        place = np.array([[side.start for side in box], mask.shape], dtype=int)
        part = np.asarray(mask[box], order="F")  # the order in which files of volumes are read
        with atomic_path(self._path(image)) as temporary:
            np.savez_compressed(temporary, mask=part, place=place, facts=json.dumps(facts))

    def _read(self, image: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict] | None:
        """What is on disk for an image: the mask in a box, where that starts, the whole shape, facts."""
        path = self._path(image)
        if not path.is_file():
            return None
        try:
            with np.load(path) as content:
                part, facts = content["mask"], json.loads(str(content["facts"]))
                whole = np.array([[0] * part.ndim, part.shape], dtype=int)
                start, shape = content.get("place", whole)  # older files hold the whole mask
                return part, start, shape, facts
        except (OSError, ValueError, KeyError):
            logger.warning("the proposal of '%s' cannot be read", image, exc_info=True)
            return None

    def _path(self, image: str) -> Path:
        """File of an image."""
        return self.folder / f"{image}.npz"


def _box(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    """A slice per axis."""
    return tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))


def box_around(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box (a slice per axis) with all voxels of a label map above 0; empty without any."""
    box = []
    for axis in range(mask.ndim):
        across = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=across))
        box.append(slice(found[0], found[-1] + 1) if found.size else slice(0, 0))
    return tuple(box)


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
