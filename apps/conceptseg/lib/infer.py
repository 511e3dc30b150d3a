"""The two models a bundle offers: automatic with a concept prompt, and interactive with clicks."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from conceptseg.concepts import MeasuredConcepts, concepts_to_sentence
from conceptseg.grid import PHOTO_DIRECTIONS, spacing_of
from conceptseg.prediction import Prediction
from conceptseg.roi_prompt import roi_embeddings
from conceptseg.slices import RAS_DIRECTIONS

from . import answers, clicks
from .model import Case, ServedModel
from .options import (
    ALL_LABELS,
    Options,
    default_config,
    read_flag,
    read_label,
    read_options,
    read_roi,
    read_strength,
    roi_slices,
)
from .problems import bad_request

logger = logging.getLogger(__name__)


class Stopwatch:
    """Seconds between its laps, by name."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End the lap `name`."""
        now = time.perf_counter()
        self.laps[name], self.last = now - self.last, now

    def latencies(self) -> dict[str, float]:
        """All laps and their total, in seconds."""
        laps = self.laps | {"total": time.perf_counter() - self.start}
        return {name: round(seconds, 4) for name, seconds in laps.items()}


class ConceptTask(InferTask):
    """What both models share.

    Args:
        model: weights and encoded images of the bundle, shared by its tasks.
        kind: MONAI Label's type; it decides where a client offers the model.
        description: for the clients.
        config: options for the clients.
    """

    def __init__(self, model: ServedModel, kind: InferType, description: str, config: dict) -> None:
        bundle = model.bundle
        super().__init__(kind, bundle.labels, bundle.dimension, description, config)
        self.model = model
        self.bundle = bundle

    def is_valid(self) -> bool:
        """True when there are weights."""
        return self.model.is_valid()

    def get_path(self, validate: bool = True) -> str | None:
        """The weights file in use."""
        path = self.model.weights
        return str(path) if path.is_file() or not validate else None

    def config(self) -> dict[str, Any]:
        """A copy: requests must not change each other's defaults."""
        return copy.deepcopy(self._config)

    def _encoded(self, request: Mapping[str, Any], watch: Stopwatch) -> tuple[Case, bool]:
        """The case of the request; its laps tell reading from encoding."""
        case, cached = self.model.case(str(request["image"]))
        watch.lap("encode")
        if not cached:
            watch.laps |= case.seconds
        return case, cached

    @staticmethod
    def _emptied_below(threshold: float, case: Case) -> Case:
        """The case with a network that empties the masks of labels with a presence below `threshold`."""
        if threshold == case.network.presence_threshold:
            return case
        network = copy.copy(case.network)
        network.presence_threshold = threshold
        return Case(case.image, case.encoded, network, case.version, case.seconds)

    def _answer(
        self, case: Case, cached: bool, mask: np.ndarray, prediction: Prediction,
        request: Mapping[str, Any], watch: Stopwatch, uncertain: bool, extra: dict[str, Any],
    ) -> tuple[str | None, dict[str, Any]]:  # fmt: skip
        """Write the mask and put the answer together."""
        scores = self.model.uncertainty(case) if uncertain else None
        params = answers.describe(self.bundle, prediction, mask, case.image, scores)
        affine = np.asarray(case.image.meta["original_affine"], dtype=np.float64)
        path = None
        if request.get("result_write_to_file", True):
            photo = answers.is_photo_file(case.image)
            path = answers.write_mask(mask, affine, photo, request)
        watch.lap("write")
        params |= extra
        params["model_version"] = case.version
        params["encoder_cached"] = cached
        params["latencies"] = watch.latencies()
        logger.info("%s: %s", Path(str(request["image"])).name, params["latencies"])
        return path, params


class AutomaticTask(ConceptTask):
    """Text-free segmentation; a concept prompt steers it."""

    def __init__(self, model: ServedModel) -> None:
        bundle = model.bundle
        super().__init__(model, InferType.SEGMENTATION, bundle.description, default_config(bundle))

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment the image of a request; see `options` for what it may hold."""
        watch = Stopwatch()
        options = read_options({**self._config, **request}, self.bundle)
        case, cached = self._encoded(request, watch)
        case = self._emptied_below(options.presence_threshold, case)
        prediction = self._predicted(case, options)
        watch.lap("decode")
        mask = self._restricted(self.model.to_original(case, prediction.probabilities), options)
        watch.lap("invert")
        extra = {
            "prompt": {
                "text": options.prompt,
                "used": options.source,
                "asked": list(prediction.asked),
                "sentences": prediction.prompts,
            },
            "notes": [*options.notes, *prediction.warnings],
        }
        return self._answer(
            case, cached, mask, prediction, request, watch, options.uncertainty, extra
        )

    def _predicted(self, case: Case, options: Options) -> Prediction:
        """What the prompt asks for; without one, text-free."""
        if options.plan is None:
            return self.model.text_free(case)
        if options.only_restricts:
            return self.model.restricted(case, options.plan)
        return self.model.decode(case, options.prompt, options.strength)

    def _restricted(self, mask: torch.Tensor, options: Options) -> np.ndarray:
        """Keep the labels and the box asked for; cleaned last, so that the largest part lies in the box."""
        mask = mask.numpy()
        keep = np.zeros(len(self.bundle.keywords) + 1, dtype=mask.dtype)
        for name in options.labels:
            keep[self.bundle.labels[name]] = self.bundle.labels[name]
        mask = keep[mask]
        if options.roi is not None:
            inside = np.zeros(mask.shape, dtype=bool)
            inside[roi_slices(options.roi, mask.shape)] = True
            mask = np.where(inside, mask, 0).astype(mask.dtype)
        return self.model.clean(mask)


class InteractiveTask(ConceptTask):
    """Points or a box mark a region; the concepts measured in it prompt a mask of what was asked."""

    def __init__(self, model: ServedModel) -> None:
        bundle = model.bundle
        config = {
            "prompt_strength": 1.0,  # what is measured in marks needs no second opinion
            "roi": "",
            "uncertainty": False,
        }
        description = f"Click inside {' or '.join(bundle.keywords)}, or draw a box around it"
        super().__init__(model, InferType.DEEPEDIT, description, config)

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment what the clicks or the box of a request mark."""
        watch = Stopwatch()
        request = {**self._config, **request}
        marks = clicks.read_clicks(request, self.bundle)
        roi = read_roi(request.get("roi"), self.bundle.dimension)
        strength = read_strength(request["prompt_strength"])
        uncertain = read_flag("uncertainty", request["uncertainty"])
        if not marks.foreground and roi is None:
            raise bad_request(
                "Expected at least one point inside the object, or a box, got neither; click in the"
                " image, then run again."
            )
        case, cached = self._encoded(request, watch)
        shape = tuple(int(n) for n in case.image.meta["spatial_shape"][: self.bundle.dimension])
        clicks.check_inside(marks, shape)
        if roi is not None:
            roi_slices(roi, shape)
        regions = self._regions(case, marks, roi, request)
        if regions["missed"]:
            # who clicks on an object says it is there
            case = self._emptied_below(0.0, case)
            regions = self._regions(case, marks, roi, request)
        prediction, sentences = self._guided(case, regions["first"] > 0.5, strength)
        mask, notes = self._final(prediction, regions, marks)
        watch.lap("decode")
        mask = self.model.to_original(case, torch.as_tensor(mask)).numpy()
        watch.lap("invert")
        prediction.asked = tuple(sentences)
        extra = {"prompt": {"text": None, "used": "clicks", "asked": list(sentences)}}
        extra |= {"roi_concepts": sentences, "notes": notes}
        return self._answer(case, cached, mask, prediction, request, watch, uncertain, extra)

    def _regions(
        self, case: Case, marks: clicks.Clicks, roi: tuple | None, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The box, the points per label on the network's grid, and the region each marks at first."""
        free = self.model.text_free(case).probabilities.cpu().numpy()
        matrix = self.model.voxel_map(case)
        inside = clicks.box_mask(roi, matrix, free.shape[1:])
        points: dict[str, np.ndarray] = {}
        for name, found in marks.foreground.items():
            found = clicks.to_network(found, matrix, free.shape[1:])
            if name is None:  # the label that the model finds most likely under the clicks
                scores = [free[i][tuple(found.T)].mean() for i in range(len(free))]
                name = self.bundle.keywords[int(np.argmax(scores))]
            points[name] = np.concatenate([points[name], found]) if name in points else found
        if not points:  # a box alone
            wanted = read_label(request.get("label", ALL_LABELS), self.bundle)
            points = {name: np.zeros((0, free.ndim - 1), dtype=int) for name in wanted}
        first, balls = np.zeros_like(free), {}
        for name, found in points.items():
            i = self.bundle.labels[name] - 1
            first[i], balls[name] = clicks.region_of(free[i], found, inside)
        return {
            "inside": inside,
            "points": points,
            "first": first,
            "balls": balls,
            "missed": any(balls.values()) or not first.any(),
            "background": clicks.to_network(marks.background, matrix, free.shape[1:]),
        }

    def _guided(
        self, case: Case, first: np.ndarray, strength: float
    ) -> tuple[Prediction, dict[str, str]]:
        """Decode with the concepts of the regions; also their sentences by label."""
        teachers = roi_embeddings(
            case.image.as_tensor().to(self.model.device),
            torch.as_tensor(first).to(self.model.device),
            case.encoded,
            case.network,
            PHOTO_DIRECTIONS,
            self.model.inferer.minimum_size,
        )
        prediction = self.model.decode(case, strength=strength, teachers=teachers)
        source = MeasuredConcepts()
        axes = PHOTO_DIRECTIONS if self.bundle.dimension == 2 else RAS_DIRECTIONS
        image = case.image.as_tensor().numpy()
        sentences = {
            name: concepts_to_sentence(source(image, mask, name, axes, spacing_of(case.image)))
            for name, mask in zip(self.bundle.keywords, first, strict=True)
            if mask.any()
        }
        return prediction, sentences

    def _final(
        self, prediction: Prediction, regions: dict, marks: clicks.Clicks
    ) -> tuple[np.ndarray, list[str]]:
        """Probabilities (K, *spatial) of the marked parts alone, and remarks."""
        guided = prediction.probabilities.cpu().numpy()
        result = np.zeros_like(guided)
        notes = []
        for name, points in regions["points"].items():
            i = self.bundle.labels[name] - 1
            region, lost = clicks.region_of(guided[i], points, regions["inside"])
            if lost:  # the prompt must not take away what was clicked on
                region = np.maximum(region, regions["first"][i])
            result[i] = clicks.without_background(region, points, regions["background"])
            if lost and regions["balls"][name]:
                notes.append(
                    f"the model sees no {name} at {regions['balls'][name]} of {len(points)} points;"
                    " a small ball was drawn there."
                )
            elif not result[i].any():
                notes.append(f"the model sees no {name} in the box.")
        if None in marks.foreground:
            notes.append(f"the points were taken for: {', '.join(regions['points'])}.")
        return result, notes
