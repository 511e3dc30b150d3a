"""The annotation desk: who has which image, what was proposed, what was saved, what was learned."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from monailabel.interfaces.datastore import DefaultLabelTag

from conceptseg.active_learning.journal import Journal
from conceptseg.concepts import Concepts, concepts_to_sentence

from . import annotations
from .background import BackgroundScores
from .corrections import (
    Corrections,
    corrections_json,
    merge_corrections,
    read_corrections,
    split_case,
)
from .leases import DEFAULT_MINUTES, Leases
from .model import ServedModel
from .problems import bad_request
from .proposals import Proposals
from .renumber import own_values
from .rounds_page import write_rounds_page

logger = logging.getLogger(__name__)

ANONYMOUS = "unnamed client"


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
        facts = {
            "model": request.get("model"),
            "version": params.get("model_version"),
            "prompt": (params.get("prompt") or {}).get("text"),
            "used": (params.get("prompt") or {}).get("used"),
        }
        try:
            self.proposals.keep(str(request["image"]), str(file), facts)
        except (OSError, ValueError):
            logger.warning("the proposal for %s is not kept", request["image"], exc_info=True)

    def label_saved(self, image: str, datastore) -> dict[str, Any]:
        """Measure, compare and record a label that was just saved as final.

        Returns:
            For the client: "concepts" by label, and "changed", the Dice to the proposal; {} when the
            image has no final label or its label is in the record already.
        """
        info = dict(datastore.get_label_info(image, DefaultLabelTag.FINAL) or {})
        if not info or not datastore.get_label_uri(image, DefaultLabelTag.FINAL):
            return {}
        before = self.saved_events().get(image, {})
        if before.get("label_ts", -1) == info.get("ts"):
            return {}  # a label under another tag was saved
        lease = self.leases.release(image) or {}
        proposal = self.proposals.of(image)
        model = self._model_of(
            info.get("model"),
            lease.get("model"),
            proposal and proposal[1].get("model"),
            before.get("model"),
        )
        paths = (
            datastore.get_image_uri(image),
            datastore.get_label_uri(image, DefaultLabelTag.FINAL),
        )
        values = own_values(info.get("label_info"), model.bundle)
        shown, label = annotations.read_case(*paths, model.bundle, values)
        measured = annotations.measure(shown, label, model.bundle, model.inferer.slice_axes[0])
        corrections, problem = self._sent_corrections(info, model)
        if before.get("model") == model.bundle.name:  # saved again: what was corrected still holds
            corrections = merge_corrections(before["corrected"], corrections)
        picked = lease or before
        event = {
            "event": "saved",
            "image": image,
            "time": _now(),
            "label_ts": info.get("ts"),
            "client": info.get("client_id")
            or info.get("user")
            or picked.get("client")
            or ANONYMOUS,
            "strategy": picked.get("strategy"),
            "reason": picked.get("reason"),
            "seconds_held": round(datetime.now().timestamp() - lease["since"])
            if lease
            else before.get("seconds_held"),
            "model": model.bundle.name,
            "concepts": measured,
            "corrected": corrections,
            "foreground_voxels": int((label > 0).sum()),
            **annotations.change(proposal, paths[1], values, model.bundle),
        }
        said = self._finish(image, event, datastore, model)
        try:
            thumbnail = self.folder / "thumbnails" / f"{image}.png"
            annotations.write_thumbnail(thumbnail, shown, label, model.bundle)
        except (OSError, ValueError):
            logger.warning("no thumbnail of '%s'", image, exc_info=True)
        self.write_page()
        self.scores.wake()
        answer = {"concepts": said, "changed": event["dice"]}
        return answer | ({"concepts_problem": problem} if problem else {})

    def correct(self, request: Mapping[str, Any], datastore, client: str) -> str | None:
        """Apply the text option `concepts` of a strategy; gives a remark for the client.

        The text is about the image it names, else about the one this client saved last. Clients
        send their options with every request, so the same text counts once.

        Raises:
            HTTPException: 400 for unknown words or an image without a label.
        """
        text = request.get("concepts")
        text = text[0] if isinstance(text, list) and text else text
        if not text or not str(text).strip():
            return None
        events = self.saved_events()
        image, said = split_case(str(text), datastore.list_images())
        image = image or self._last_saved_by(client, events)
        if image not in events:
            raise bad_request(
                "Expected 'concepts' for an image with a saved label, got none saved by this client"
                f"{f' as {image!r}' if image else ''}; save the label first, then press Next Sample."
            )
        used = {(e["client"], e["text"]) for e in self.journal.read() if e["event"] == "corrected"}
        if (client, str(text)) in used:
            return (
                f"the concepts {said!r} were taken over before and are not used again; for another"
                f" image write its name first, such as '{image}: {said}'"
            )
        event = events[image]
        model = self._model_of(event["model"])
        merged = merge_corrections(
            event["corrected"], read_corrections(said, model.bundle.keywords)
        )
        note = {"event": "corrected", "image": image, "time": _now(), "client": client}
        self.journal.add(note | {"text": str(text)})
        sentences = self._finish(image, {**event, "corrected": merged}, datastore, model)
        self.write_page()
        return f"the concepts of {image} are now: {'; '.join(sentences.values())}"

    @staticmethod
    def _last_saved_by(client: str, events: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The image a client saved last."""
        mine = {image: e["time"] for image, e in events.items() if e["client"] == client}
        return max(mine, key=mine.__getitem__) if mine else None

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

    def _finish(
        self, image: str, event: dict[str, Any], datastore, model: ServedModel
    ) -> dict[str, str]:
        """Record a saved label, and put its concepts where training finds them; gives them in words."""
        self.journal.add(event)
        full = annotations.with_corrections(event["concepts"], event["corrected"])
        said = self._sentences(full, model)
        note = {
            "concepts": said,
            "corrected_concepts": corrections_json(event["corrected"])
            if event["corrected"]
            else "",
        }
        datastore.update_label_info(image, DefaultLabelTag.FINAL, note)
        return said

    def _sent_corrections(
        self, info: Mapping[str, Any], model: ServedModel
    ) -> tuple[Corrections, str | None]:
        """Corrections sent along with the label; the label is saved already, so a slip is only told."""
        text = info.get("concepts")
        if not isinstance(text, str) or not text.strip():
            return {}, None
        try:
            return read_corrections(text, model.bundle.keywords), None
        except Exception as error:
            return {}, str(getattr(error, "detail", error))

    def _model_of(self, *names: Any) -> ServedModel:
        """The model of the first known name; the first model where none is known."""
        for name in names:
            name = str(name or "").removesuffix("_interactive")
            if name in self.served:
                return self.served[name]
        return next(iter(self.served.values()))

    @staticmethod
    def _sentences(values: Mapping[str, Mapping], model: ServedModel) -> dict[str, str]:
        """Label name -> sentence of its concepts."""
        result = {}
        for name in model.bundle.keywords:
            said = dict(values.get(name, {}))
            if "number" in said:
                said["number"] = 4 if said["number"] == "many" else int(said["number"])
            result[name] = concepts_to_sentence(Concepts(keyword=name, **said))
        return result

    def _note_version(self, name: str, version: str) -> None:
        """Record that other weights are served."""
        if any(e["event"] == "model" and e["version"] == version for e in self.journal.read()):
            return
        stats = self.served[name].weights_dir / "train_stats.json"
        try:
            metric = json.loads(stats.read_text(encoding="utf-8")).get("best_metric")
        except (OSError, ValueError):
            metric = None
        labelled = len(self.saved_events())
        self.journal.add(
            {"event": "model", "model": name, "version": version, "time": _now(),
             "labelled": labelled, "validation_dice": metric}
        )  # fmt: skip
        self.write_page()


def _now() -> str:
    """Time of day and zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
