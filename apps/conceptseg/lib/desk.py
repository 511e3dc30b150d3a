"""The annotation desk: who has which image, what was proposed, what was saved, what was learned."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from monailabel.interfaces.datastore import DefaultLabelTag

from conceptseg.active_learning.journal import Journal

from . import annotations
from .background import BackgroundScores
from .corrections import (
    corrected_case,
    correction_text,
    corrections_json,
    merge_corrections,
    read_corrections,
    sent_corrections,
)
from .leases import DEFAULT_MINUTES, Leases
from .model import ServedModel
from .naming import choose_model
from .problems import bad_request
from .proposals import Proposals, asked_labels
from .rounds_page import write_rounds_page

logger = logging.getLogger(__name__)


def rounds_folder(model_dir: Path, studies: str) -> Path:
    """Folder for the rounds on some studies; images of other studies may have the same names.

    Args:
        model_dir: where trained weights lie.
        studies: folder, or address of a DICOMweb server.
    """
    if studies.startswith(("http://", "https://")):
        whole = studies.strip().rstrip("/")
        name = urlsplit(whole).hostname or ""
    else:
        path = Path(studies).expanduser().resolve()
        whole, name = str(path), path.name
    mark = hashlib.sha1(whole.encode()).hexdigest()[:8]
    folder = model_dir / "rounds" / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)}_{mark}"
    older = model_dir / "rounds" / "rounds.jsonl"
    if older.is_file() and not folder.exists():
        logger.warning(
            "'%s' is of an older version, which did not tell studies apart, and is not used: the"
            " rounds lie in '%s' now. To go on with it, move all of '%s' there.",
            *(older, folder, older.parent),
        )
    return folder


class Desk:
    """State of the annotation rounds, all of it on disk.

    Args:
        served: bundle name -> its model.
        folder: for leases, proposals, scores, the record `rounds.jsonl` and the page `rounds.html`.
    """

    def __init__(self, served: Mapping[str, ServedModel], folder: Path) -> None:
        self.served = served
        self.folder = folder
        self.leases = Leases(folder / "leases.json")
        self.proposals = Proposals(folder / "proposals")
        self.journal = Journal(folder / "rounds.jsonl")
        self.scores = BackgroundScores(served, folder / "scores", self._note_version)
        self.lock = threading.RLock()  # one choice of an image at a time

    def configure(self, conf: Mapping[str, str]) -> None:
        """Take over the options of the command line.

        Raises:
            ValueError: `lease_minutes` is no positive number.
        """
        text = conf.get("lease_minutes") or DEFAULT_MINUTES
        try:
            minutes = float(text)
        except ValueError:
            minutes = 0.0
        if not minutes > 0:
            raise ValueError(
                f"Expected lease_minutes above 0, got {text!r}; 120 keeps an image for two hours."
            )
        self.leases.minutes = minutes

    @property
    def page(self) -> Path:
        """The page of all rounds."""
        return self.folder / "rounds.html"

    def saved_events(self) -> dict[str, dict[str, Any]]:
        """Image -> its newest saved label in the record."""
        return {e["image"]: e for e in self.journal.read() if e["event"] == "saved"}

    def note_proposal(self, request: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Keep the mask of an answered inference request; an error here must not spoil the answer."""
        file = result.get("file")
        if not file or not Path(file).is_file():
            return
        params = result.get("params") or {}
        prompt = params.get("prompt") or {}
        bundle = choose_model(self.served, request["model"]).bundle
        asked = asked_labels(request, params, bundle)
        if not asked:  # a prompt that says there is nothing proposes nothing
            return
        facts = {
            "bundle": bundle.name,
            "model": request["model"],
            "version": params.get("model_version"),
            "prompt": prompt.get("text"),
            "used": prompt.get("used"),
        }
        try:
            self.proposals.keep(str(request["image"]), str(file), facts, asked)
        except (OSError, ValueError):
            logger.warning("the proposal for %s is not kept", request["image"], exc_info=True)

    def label_saved(self, image: str, datastore) -> dict[str, Any]:
        """Measure, compare and record a label that was just saved as final.

        Returns:
            For the client: "concepts" by label, and "changed", the Dice to the proposal; {} when the
            image has no final label or its label is in the record already.
        """
        info = dict(datastore.get_label_info(image, DefaultLabelTag.FINAL) or {})
        file = datastore.get_label_uri(image, DefaultLabelTag.FINAL) if info else None
        before = self.saved_events().get(image, {})
        saved_at = "saved_ns" if "saved_ns" in info else "ts"  # a second may see two labels
        if not file or before.get(f"label_{saved_at}", -1) == info.get(saved_at):
            return {}  # nothing final, or a label under another tag was saved
        lease, proposal = self.leases.release(image) or {}, self.proposals.of(image)
        names = [info, lease, proposal[1] if proposal else {}, before]
        path = datastore.get_image_uri(image)
        saved = annotations.SavedLabel.read(path, file, info.get("label_info"))
        model = self._model_of(saved, [facts.get("model") for facts in names])
        corrections, problem = sent_corrections(info, model.bundle.keywords)
        if before.get("model") == model.bundle.name:  # saved again: what was corrected still holds
            corrections = merge_corrections(before["corrected"], corrections)
        event = {
            **annotations.saved_event(image, info, lease, before),
            "label_saved_ns": info.get("saved_ns"),
            "model": model.bundle.name,
            "concepts": self._measured(image, saved, model),
            "corrected": corrections,
            "foreground_voxels": int((saved.numbers(model.bundle) > 0).sum()),
            **annotations.change(proposal, saved, model.bundle),
        }
        others = {n for m in self.served.values() for n in m.bundle.keywords}
        others -= set(model.bundle.keywords)
        segments = {"label_info": saved.info_without(others)} if saved.info else {}
        said = self._finish(image, event, datastore, segments)
        self.scores.wake()
        answer = {"concepts": said, "changed": event["dice"]}
        return answer | ({"concepts_problem": problem} if problem else {})

    def correct(self, request: Mapping[str, Any], datastore, client: str) -> str | None:
        """Apply the text option `concepts` of a strategy; gives a remark for the client.

        Clients send their options with every request, so the same text counts once.

        Raises:
            HTTPException: 400 for unknown words or an image without a label.
        """
        text = correction_text(request)
        if text is None:
            return None
        events = self.saved_events()
        image, said = corrected_case(text, client, datastore.list_images(), events)
        used = {(e["client"], e["text"]) for e in self.journal.read() if e["event"] == "corrected"}
        if (client, text) in used:
            return (
                f"the concepts {said!r} were taken over before and are not used again; for another"
                f" image write its name first, such as '{image}: {said}'"
            )
        event = events[image]
        if event["model"] not in self.served:
            raise bad_request(
                f"Expected a label of {', '.join(self.served)}, got '{image}', labelled for"
                f" '{event['model']}'; start the server with that bundle to correct its concepts."
            )
        keywords = self.served[event["model"]].bundle.keywords
        merged = merge_corrections(event["corrected"], read_corrections(said, keywords))
        note = {"event": "corrected", "image": image, "client": client, "text": text}
        self.journal.add(note | {"time": annotations.now_text()})
        sentences = self._finish(image, {**event, "corrected": merged}, datastore)
        return f"the concepts of {image} are now: {'; '.join(sentences.values())}"

    def labelled_concepts(self, name: str, labelled: list[str]) -> dict[str, np.ndarray | None]:
        """Annotated image -> (K, A) indices of its concepts as measured and corrected, None where unknown."""
        events, bundle = self.saved_events(), self.served[name].bundle
        return {
            image: annotations.indices_of(
                annotations.with_corrections(events[image]["concepts"], events[image]["corrected"]),
                bundle,
            )
            if image in events and events[image]["model"] == name
            else None
            for image in labelled
        }

    def write_page(self) -> None:
        """Write the page of all rounds anew; an error is logged only."""
        try:
            write_rounds_page(self.page, self.journal.read(), self.folder / "thumbnails")
        except (OSError, ValueError, KeyError):
            logger.warning("the page of the rounds is not written", exc_info=True)

    def _measured(
        self, image: str, saved: annotations.SavedLabel, model: ServedModel
    ) -> dict[str, dict]:
        """Concepts of a saved label, whose thumbnail is made as well; {} where that fails."""
        try:
            shown, label = annotations.read_case(saved, model.bundle)
            axis = model.inferer.slice_axes[0]
            measured = annotations.measure(shown, label, model.bundle, axis)
            thumbnail = self.folder / "thumbnails" / f"{image}.png"
            annotations.write_thumbnail(thumbnail, shown, label, model.bundle)
        except Exception:  # the label is saved, and must be in the record
            logger.warning("the label of '%s' is not measured", image, exc_info=True)
            return {}
        return measured

    def _finish(
        self, image: str, event: dict[str, Any], datastore, note: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Record a saved label, and put its concepts, and `note`, where training finds them.

        Returns:
            Label name -> its concepts in words.
        """
        self.journal.add(event)
        full = annotations.with_corrections(event["concepts"], event["corrected"])
        said = annotations.sentences_of(full)
        corrected = corrections_json(event["corrected"]) if event["corrected"] else ""
        note = {"concepts": said, "corrected_concepts": corrected, **(note or {})}
        datastore.update_label_info(image, DefaultLabelTag.FINAL, note)
        self.write_page()
        return said

    def _model_of(self, saved: annotations.SavedLabel, names: Sequence[Any]) -> ServedModel:
        """The model of a saved label: of those in `names`, else of all, the first that has its labels."""
        plain = [str(name or "").removesuffix("_interactive") for name in names]
        known = [name for name in plain if name in self.served]
        candidates = [self.served[name].bundle for name in (*known, *self.served)]
        return self.served[annotations.best_bundle(saved.drawn(), candidates).name]

    def _note_version(self, name: str, version: str) -> None:
        """Record that other weights are served."""
        if any(e["event"] == "model" and e["version"] == version for e in self.journal.read()):
            return
        stats = self.served[name].weights_dir / "train_stats.json"
        try:
            found = json.loads(stats.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        metric = found.get("best_metric") if found.get("version") == version else None
        labelled = len(self.saved_events())
        self.journal.add(
            {"event": "model", "model": name, "version": version, "time": annotations.now_text(),
             "labelled": labelled, "validation_dice": metric}
        )  # fmt: skip
        self.write_page()
