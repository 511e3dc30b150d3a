"""A handler that writes what evaluation found: tables and one HTML report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys

from .concept_dice import describe_reference
from .evaluation import CaseTable, as_array, evaluate_case
from .grid import directions_of, spacing_of
from .image_formats import case_names
from .overlay import Overlay, cut_overlays, png_bytes
from .report import write_report

logger = logging.getLogger(__name__)


class EvaluationReport:
    """Writes metrics.csv (a row per case, condition and label), metrics.json and report.html.

    Args:
        keywords: one per label.
        output_dir: folder to write to.
        conditions: keys of the evaluator's output to judge.
        title: of the HTML report.
    """

    def __init__(
        self, keywords: Sequence[str], output_dir: str, conditions: Sequence[str], title: str
    ) -> None:
        self.keywords = tuple(keywords)
        self.output_dir = Path(output_dir)
        self.conditions = tuple(conditions)
        self.title = title
        self.table = CaseTable(self.conditions)
        self._overlays: dict[tuple[str, str], Overlay] = {}  # by case and condition

    def attach(self, engine: Engine) -> None:
        """Collect from the evaluator `engine` and write at its end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        """Forget an earlier run."""
        self.table = CaseTable(self.conditions)
        self._overlays.clear()

    def _collect(self, engine: Engine) -> None:
        """Judge each image under every condition."""
        for item in engine.state.output:
            image, label = item[Keys.IMAGE], item[Keys.LABEL]
            case = str(image.meta["filename_or_obj"])
            picture = as_array(image)
            reference = as_array(label[0]).astype(np.uint8)
            preds = {name: as_array(item[name][0]).astype(np.uint8) for name in self.conditions}
            directions, spacing = directions_of(image), spacing_of(image)
            described = describe_reference(picture, reference, len(self.keywords), directions)
            for name, pred in preds.items():
                rows = evaluate_case(pred, reference, self.keywords, spacing)
                rows = [row | concepts for row, concepts in zip(rows, described, strict=True)]
                if name == "text_free" and "uncertainty" in item:
                    unsure = item["uncertainty"].tolist()
                    rows = [r | {"uncertainty": u} for r, u in zip(rows, unsure, strict=True)]
                self.table.add(case, name, rows)
            overlays = cut_overlays(
                picture, preds, reference, self.keywords, directions, spacing, max_slices=1
            )
            self._overlays |= {(case, name): overlay for name, overlay in overlays.items()}

    def _overlay(self, case: str, condition: str) -> bytes:
        """PNG of one case under one condition."""
        return png_bytes(self._overlays[case, condition].draw())

    def _write(self, engine: Engine) -> None:
        """Write table, summary and report."""
        names = case_names(case for case, _ in self._overlays)
        self.table.rename(names)
        self._overlays = {(names[case], c): kept for (case, c), kept in self._overlays.items()}
        self.table.write_csv(self.output_dir / "metrics.csv")
        self.table.write_summary(self.output_dir / "metrics.json")
        write_report(self.output_dir / "report.html", self.table, self._overlay, self.title)
        for name, entry in self.table.summary().items():
            stats = entry["dice_over_labels"]
            logger.info("%s: mean Dice %.4f over %d cases", name, stats["mean"], stats["n"])
        logger.info("wrote %s", self.output_dir / "report.html")
