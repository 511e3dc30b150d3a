"""Batch inference on CPU or GPU that goes on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType, BatchInferTask
from monailabel.utils.others.generic import remove_file

from .model import ServedModel
from .naming import trained_model
from .options import read_flag
from .problems import bad_request
from .store import check_tag

logger = logging.getLogger(__name__)

# options that change a mask
_OPTIONS = ("label", "label_prompt", "prompt_strength", "presence_threshold", "roi")


def check_batch(request: Mapping[str, Any]) -> None:
    """Refuse wrong options of a batch with error 400 before it starts in the background."""
    images = request.get("images", BatchInferImageType.IMAGES_ALL.value)
    kinds = [kind.value for kind in BatchInferImageType]
    if isinstance(images, str) and images not in kinds:
        raise bad_request(
            f"Expected 'images' out of {', '.join(kinds)} or a list of names, got {images!r}."
        )
    _limit(request)
    read_flag("overwrite", request.get("overwrite", False))
    check_tag(str(request.get("label_tag") or DefaultLabelTag.ORIGINAL.value))


def _limit(request: Mapping[str, Any]) -> int:
    """`max_batch_size`, a whole number from 0, which means all."""
    value = request.get("max_batch_size") or 0
    try:
        limit = int(value)
    except (TypeError, ValueError):
        limit = -1
    if limit < 0:
        raise bad_request(f"Expected 'max_batch_size' from 0 (all images), got {value!r}.")
    return limit


class ResumableBatch(BatchInferTask):
    """Runs a model on many images and saves each mask at once.

    An image that has a label of the same tag, model, weights, prompt and options already is skipped, so a
    stopped run goes on when it is started again; `overwrite` true does all of them again. One
    unreadable image does not end the run.

    Args:
        served: bundle name -> its model.
    """

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        self.served = served

    def __call__(self, request: Mapping[str, Any], datastore, infer: Callable) -> dict[str, Any]:
        """Image name -> "done", "skipped" or the error."""
        model = trained_model(self.served, request.get("model"))
        tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL
        overwrite = read_flag("overwrite", request.get("overwrite", False))
        images = sorted(self.get_images(request, datastore))
        limit = _limit(request) or len(images)
        mark = {
            "model": request.get("model"),
            "version": model.version(),
            "prompt": str(request.get("concept") or ""),
            "options": {key: request[key] for key in _OPTIONS if request.get(key) is not None},
        }
        result: dict[str, Any] = {}
        for number, image in enumerate(images, start=1):
            if not overwrite and self._is_done(datastore, image, tag, mark):
                result[image] = "skipped"
            elif len(result) - list(result.values()).count("skipped") >= limit:
                break
            else:
                result[image] = self._run(request, datastore, infer, image, tag, mark)
            logger.info("%d / %d: %s %s", number, len(images), image, result[image])
        return result

    @staticmethod
    def _is_done(datastore, image: str, tag: str, mark: dict[str, Any]) -> bool:
        """True when the label of this image was made by the same model, weights, prompt and options."""
        if tag not in datastore.get_labels_by_image_id(image):
            return False
        return datastore.get_label_info(image, tag).get("batch") == mark

    @staticmethod
    def _run(
        request: Mapping[str, Any], datastore, infer: Callable, image: str, tag: str, mark: dict
    ) -> str:
        """Infer and save one image."""
        asked = {
            **request,
            "image": image,
            "save_label": True,
            "label_tag": tag,
            "batch_mark": mark,
        }
        try:
            made = infer(asked, datastore)
        except Exception as error:
            logger.warning("'%s' failed", image, exc_info=True)
            return f"failed: {getattr(error, 'detail', None) or error}"
        if made.get("file"):
            remove_file(made["file"])
        return "done"
