"""Overlays of cases that tell something: worst, and where ours and the best baseline differ most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..grid import directions_of, spacing_of
from ..image_formats import case_name
from ..overlay import overlay_image, png_bytes
from ..report import figure_html
from .comparison import Entry, Group
from .records import MASKS, RunStore

_EACH = 4  # cases of each kind


def pick_telling(entry: Entry, other: Entry | None, each: int = _EACH) -> dict[str, list[str]]:
    """Kind -> cases: the worst of `entry`, and those where it loses or wins most against `other`."""
    scores = entry.case_means()
    worst = sorted(scores, key=lambda case: (scores[case], case))
    picks = {"worst": worst[:each]}
    if other is not None:
        against = other.case_means()
        gains = {case: scores[case] - against[case] for case in worst if case in against}
        ordered = sorted(gains, key=lambda case: (gains[case], case))
        picks["largest loss"] = [case for case in ordered[:each] if gains[case] < 0]
        picks["largest gain"] = [case for case in reversed(ordered[-each:]) if gains[case] > 0]
    return picks


def group_figures(
    group: Group, entry: Entry, store: RunStore, dataset_of: Callable[[dict[str, Any]], Any]
) -> str:
    """HTML of the telling cases of `entry`, each beside the best baseline.

    Args:
        group: of `entry`.
        entry: of one contestant.
        store: of the runs.
        dataset_of: gives the test data set of a record, items as the network sees them.
    """
    other = group.best_baseline()
    other = None if other is entry else other
    record = entry.records[0]
    shown = {entry.title: (entry, record)}
    same = _like(other, record)
    if same is not None:
        shown[other.title] = (other, same)
    dataset = dataset_of(record)
    places = {case_name(item["image"]): i for i, item in enumerate(dataset.data)}
    masks = {title: np.load(store.folder(r["key"]) / MASKS) for title, (_, r) in shown.items()}
    parts = []
    for kind, cases in pick_telling(entry, other).items():
        for case in cases:
            if case not in places:
                continue
            item = dataset[places[case]]
            for title, (e, r) in shown.items():
                dice = e.scores["dice"][e.condition][r["seed"]][case]
                pred = masks[title][f"{e.condition}/{case}"]
                caption = f"{kind}: {case}, {title}, Dice {dice:.3f}"
                parts.append(figure_html(_overlay(item, pred, entry.labels), caption))
    return "".join(parts)


def _like(entry: Entry | None, record: dict[str, Any]) -> dict[str, Any] | None:
    """The run of `entry` with the seed and fold of `record`; None without one."""
    runs = [] if entry is None else entry.records
    same = [r for r in runs if (r["seed"], r["fold"]) == (record["seed"], record["fold"])]
    return same[0] if same else None


def _overlay(item: dict[str, Any], pred: np.ndarray, keywords: list[str]) -> bytes:
    """PNG of one case; of a volume the slice with the largest reference."""
    image = item["image"]
    label = np.asarray(item["label"])[0].astype(np.uint8)
    picture = overlay_image(
        image, pred, label, keywords, directions_of(image), spacing_of(image), max_slices=1
    )
    return png_bytes(picture)
