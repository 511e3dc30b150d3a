"""A handler that writes what inference found: tables and overlays."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.utils.enums import CommonKeys as Keys

from .atomic import write_text_atomic
from .concepts import ATTRIBUTES, Concepts, concepts_to_sentence
from .evaluation import as_array
from .evaluation_report import EvaluationReport as EvaluationReport  # bundles made before name it
from .grid import directions_of, spacing_of
from .image_formats import case_name, case_names
from .overlay import overlay_png

logger = logging.getLogger(__name__)


class PredictionSummary:
    """Writes summary.csv, summary.json and an overlay picture for each predicted image.

    A row per image and label: volume in ml where the spacing is known, pixels otherwise, presence,
    the concepts read out of the student embedding with their confidence, the prompt, seconds.

    Args:
        keywords: one per label.
        output_dir: folder to write to.
        overlays: write PICTURE_overlay.png beside the masks.
    """

    def __init__(self, keywords: Sequence[str], output_dir: str, overlays: bool = True) -> None:
        self.keywords = tuple(keywords)
        self.output_dir = Path(output_dir)
        self.overlays = overlays
        self.rows: list[dict] = []
        self._sources: list[str] = []  # of the rows

    def attach(self, engine: Engine) -> None:
        """Collect from the evaluator `engine` and write at its end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        """Forget an earlier run."""
        self.rows.clear()
        self._sources.clear()

    def _collect(self, engine: Engine) -> None:
        """Rows and overlay of each image of the iteration."""
        for item in engine.state.output:
            pred, report = item[Keys.PRED], json.loads(item["report"])
            source = str(pred.meta["filename_or_obj"])
            rows = self._rows(case_name(source), pred, report)
            self.rows += rows
            self._sources += [source] * len(rows)
            for warning in report["warnings"]:
                logger.warning("%s: %s", case_name(source), warning)
            if self.overlays:
                self._draw(item[Keys.IMAGE], pred)

    def _rows(self, case: str, pred: MetaTensor, report: dict) -> list[dict]:
        """One row per label."""
        spacing = spacing_of(pred)
        rows = []
        for i, keyword in enumerate(self.keywords):
            if keyword not in report["asked"]:
                continue
            voxels = int((pred == i + 1).sum())
            row = {"case": case, "label": keyword}
            if spacing is None:
                row["area_px"] = voxels
            else:
                row["volume_ml"] = round(voxels * float(np.prod(spacing)) / 1000, 4)
            row |= {
                "presence": report["presence"][i],
                "concepts_read_out": describe_readout(keyword, report["readout"][i]),
                "confidence": mean_confidence(report["readout"][i]),
                "prompt": report["prompts"][i],
                "seconds": round(report["seconds"], 3),
                "mask": str(pred.meta.get("saved_to", "")),
            }
            rows.append(row)
        return rows

    def _draw(self, image: MetaTensor, pred: MetaTensor) -> None:
        """Overlay beside the mask, on the image's own grid."""
        path = Path(pred.meta["saved_to"])
        name = path.name.removesuffix(".nii.gz").removesuffix(path.suffix)
        overlay_png(
            image,
            as_array(pred[0]).astype(np.uint8),
            path.with_name(f"{name}_overlay.png"),
            keywords=self.keywords,
            axes=directions_of(image),
            spacing=spacing_of(image),
        )

    def _write(self, engine: Engine) -> None:
        """Write the tables and log the short form."""
        names = case_names(self._sources)
        for row, source in zip(self.rows, self._sources, strict=True):
            row["case"] = names[source]
        write_table(self.output_dir / "summary.csv", self.rows)
        write_text_atomic(self.output_dir / "summary.json", json.dumps(self.rows, indent=1) + "\n")
        logger.info("wrote %d rows to %s", len(self.rows), self.output_dir / "summary.csv")


def describe_readout(keyword: str, readout: dict[str, dict]) -> str:
    """Sentence of the values read out."""
    values = {name: entry["value"] for name, entry in readout.items()}
    if "number" in values:
        values["number"] = 4 if values["number"] == "many" else int(values["number"])
        if values["number"] == 0:
            values = {"number": 0}
    described = {name: values.pop(name) for name in list(values) if name not in ATTRIBUTES}
    return concepts_to_sentence(Concepts(keyword=keyword, **values), descriptors=described)


def mean_confidence(readout: dict[str, dict]) -> float | None:
    """Mean confidence of the values read out; None when there are none."""
    if not readout:
        return None
    return round(float(np.mean([entry["confidence"] for entry in readout.values()])), 3)


def write_table(path: Path, rows: Sequence[dict]) -> None:
    """Write rows as CSV, atomically; columns in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(path, buffer.getvalue())
