"""Scores of all images, computed by a thread while people annotate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from conceptseg.active_learning import CaseRecord
from conceptseg.active_learning.score_file import ScoreFile
from conceptseg.active_learning.scoring import CaseScorer
from conceptseg.network import ConceptSegNet

from .faults import read_image
from .model import ServedModel, file_version
from .retries import ImageTries, Retries

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0  # between two looks at new images and new weights
REST_SECONDS = 0.005  # after each image, so that requests get their turn
UNTRAINED = "untrained"  # version of a network without weights: good for look-alikes alone


class BackgroundScores:
    """Keeps a record of every image for the weights served now, and those before until it is done.

    Args:
        served: bundle name -> its model.
        folder: for the score files, one per bundle and version.
        on_version: called with bundle name and version when new weights are seen.
    """

    def __init__(
        self,
        served: Mapping[str, ServedModel],
        folder: Path,
        on_version: Callable[[str, str], None] = lambda name, version: None,
    ) -> None:
        self.served = served
        self.folder = folder
        self.on_version = on_version
        self._files: dict[str, list[ScoreFile]] = {name: [] for name in served}  # newest first
        self._tries = ImageTries()
        self._retries = Retries()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, datastore) -> None:
        """Score the images of a datastore from now on; again has no effect."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(datastore,), name="background-scores", daemon=True
            )
            self._thread.start()

    def wake(self) -> None:
        """Look for new images and weights at once."""
        self._wake.set()

    def records(self, name: str, images: list[str]) -> tuple[str, dict[str, CaseRecord]]:
        """Version and records of a bundle, those of `images` that are scored.

        Scores of the newest weights count as soon as half of the images have them; until then
        those of the weights before do, because scores of two networks do not compare.
        """
        found = [
            (file.version, {i: file.records[i] for i in images if i in file.records})
            for file in self._files[name]
        ]
        if not found:
            return "", {}
        newest = found[0]
        if (
            len(found) > 1
            and 2 * len(newest[1]) < len(images)
            and len(found[1][1]) > len(newest[1])
        ):
            return found[1]
        return newest

    def progress(self, name: str) -> int:
        """Images of a bundle scored with the newest weights."""
        return len(self._files[name][0].records) if self._files[name] else 0

    def _run(self, datastore) -> None:
        """Go round for ever."""
        while True:
            for name, model in self.served.items():
                self._look(name, model, datastore)
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _look(self, name: str, model: ServedModel, datastore) -> None:
        """Score what is new; an error, such as weights that do not fit, is tried again after a pause."""
        key = (name, "")
        try:
            key = (name, file_version(model.weights) if model.is_valid() else UNTRAINED)
            if self._retries.is_due(key):
                self._score_all(name, model, datastore)
                self._retries.succeeded(key)
        except Exception:
            pause = self._retries.failed(key)
            logger.warning("scoring of '%s' rests for %.0f s", name, pause, exc_info=True)

    def _score_all(self, name: str, model: ServedModel, datastore) -> None:
        """Score what is not scored with the newest weights; stops when newer ones come."""
        version, network = model.network() if model.is_valid() else (UNTRAINED, None)
        file = self._file_of(name, version)
        todo = [
            image
            for image in sorted(datastore.list_images())
            if image not in file.records and self._tries.may_be_tried((name, version, image))
        ]
        if not todo:
            return
        if version == UNTRAINED:
            network = _untrained(model)
        scorer = CaseScorer(network, model.inferer)
        read = model.bundle.build_transforms()[0]
        start = time.monotonic()

        def score(path: str) -> None:
            file.add(scorer.score(image, read_image(read, path).to(model.device)))

        for number, image in enumerate(todo, start=1):
            self._tries.run((name, version, image), image, datastore, score)
            if number % 50 == 0 or number == len(todo):
                left = (time.monotonic() - start) / number * (len(todo) - number)
                logger.info("%s: %d of %d scored, %.0f s left", name, number, len(todo), left)
            if _version_of(model) != version:
                return
            time.sleep(REST_SECONDS)

    def _file_of(self, name: str, version: str) -> ScoreFile:
        """The score file of a version; the newest two are kept."""
        files = self._files[name]
        if not files or files[0].version != version:
            path = self.folder / name / f"{version}.jsonl"
            files.insert(0, ScoreFile(path, version))
            self.on_version(name, version)
            kept = {file.path for file in files[:2]}
            for old in path.parent.glob("*.jsonl"):
                if old not in kept:
                    old.unlink()
            del files[2:]
        return files[0]


def _version_of(model: ServedModel) -> str:
    """Version of the network that answers."""
    return model.version() if model.is_valid() else UNTRAINED


def _untrained(model: ServedModel) -> ConceptSegNet:
    """A network with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model.bundle.build_network().to(model.device).eval()
