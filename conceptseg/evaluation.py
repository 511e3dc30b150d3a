"""Per-case metrics, the table that collects them, and what is written of it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from .atomic import write_text_atomic
from .calibration import error_detection
from .concept_dice import group_rows

# What the mask was conditioned on. "text_guided_oracle" is given the measured concepts of the
# reference mask, so it is for analysis only and never mixed with the others.
CONDITIONS = ("text_free", "text_guided_oracle", "no_condition")

METRICS = ("dice", "iou", "hd95_mm", "hd95_px", "relative_volume_error")
_COLUMNS = ("case", "condition", "label", *METRICS, "presence_true", "presence_pred")
_HD_PERCENTILE = 95


def evaluate_case(
    pred: np.ndarray | torch.Tensor,
    label: np.ndarray | torch.Tensor,
    keywords: Sequence[str],
    spacing: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Compare one predicted segmentation with its reference, label by label.

    Dice, IoU and the Hausdorff distance are MONAI's (1.6.1). An empty reference and an empty
    prediction agree: Dice and IoU 1. The Hausdorff distance needs both surfaces and is NaN
    without.

    Args:
        pred: (K, *spatial) one mask per label, or an integer map (*spatial) or (1, *spatial) with
            0 for background and k for ``keywords[k - 1]``.
        label: the reference in one of the same forms. Without ``spacing``, a first axis of length
            1 or K, of three or more, is taken for the channels.
        keywords: K label names.
        spacing: mm between neighbours along each spatial axis; None when unknown.

    Returns:
        K rows with "label", "dice" and "iou" in [0, 1], "hd95_mm" (or "hd95_px" without spacing),
        "relative_volume_error" ((pred - reference) / reference, NaN for an empty reference),
        "presence_true" and "presence_pred".

    Raises:
        ValueError: shapes that do not fit each other, ``keywords`` or ``spacing``, or values that
            are no label number.
    """
    pred, label = as_array(pred), as_array(label)
    rank = _spatial_rank(label, len(keywords), spacing)
    pred_masks = split_labels(pred, len(keywords), rank, "prediction")
    label_masks = split_labels(label, len(keywords), rank, "reference")
    if pred_masks.shape != label_masks.shape:
        raise ValueError(
            f"Expected a prediction of the reference's size {label_masks.shape[1:]}, got "
            f"{pred_masks.shape[1:]}. Bring the prediction back to the image grid first."
        )
    return [
        {"label": keyword, **_compare(pred_mask, label_mask, spacing)}
        for keyword, pred_mask, label_mask in zip(keywords, pred_masks, label_masks, strict=True)
    ]


def as_array(array: np.ndarray | torch.Tensor) -> np.ndarray:
    """Give ``array`` as a NumPy array on the CPU."""
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def _spatial_rank(label: np.ndarray, num_labels: int, spacing: Sequence[float] | None) -> int:
    """Give the number of spatial axes, from the spacing where there is one."""
    if spacing is not None:
        if not all(math.isfinite(step) and step > 0 for step in spacing):
            raise ValueError(f"Expected spacings above 0 mm, got {tuple(spacing)}. Give None.")
        return len(spacing)
    has_channels = label.ndim > 2 and label.shape[0] in (1, num_labels)
    return label.ndim - 1 if has_channels else label.ndim


def split_labels(
    array: np.ndarray, num_labels: int, spatial_rank: int, what: str = "label map"
) -> np.ndarray:
    """Give (K, *spatial) bool masks of an integer map, or of masks already one per label.

    Args:
        array: (*spatial) or (1, *spatial) integer map 0..K, or (K, *spatial) masks 0/1.
        num_labels: K.
        spatial_rank: number of spatial axes.
        what: name in the error.

    Raises:
        ValueError: another number of axes or channels, or other values.
    """
    array = array[None] if array.ndim == spatial_rank else array
    if array.ndim != spatial_rank + 1 or array.shape[0] not in (1, num_labels):
        raise ValueError(
            f"Expected a {what} with 1 or {num_labels} channels and {spatial_rank} spatial axes, "
            f"got shape {array.shape}. Give one case, channel axis first."
        )
    is_map = array.shape[0] == 1
    values = np.unique(array)
    if not np.isin(values, np.arange(num_labels + 1 if is_map else 2)).all():
        raise ValueError(
            f"Expected label numbers 0..{num_labels if is_map else 1} in the {what}, got values "
            f"from {values[0]:g} to {values[-1]:g}. Threshold probabilities or map labels first."
        )
    return np.concatenate([array == k for k in range(1, num_labels + 1)]) if is_map else array > 0


def _compare(
    pred: np.ndarray, label: np.ndarray, spacing: Sequence[float] | None
) -> dict[str, float | bool]:
    """Give the metrics of two boolean masks (*spatial)."""
    both = [
        torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() for mask in (pred, label)
    ]
    pred_size, label_size = int(pred.sum()), int(label.sum())
    hd95 = math.nan
    if pred_size and label_size:
        hd95 = compute_hausdorff_distance(
            *both,
            include_background=True,
            percentile=_HD_PERCENTILE,
            spacing=None if spacing is None else [float(step) for step in spacing],
        ).item()
    return {
        "dice": compute_dice(*both, include_background=True, ignore_empty=False).item(),
        "iou": compute_iou(*both, include_background=True, ignore_empty=False).item(),
        "hd95_px" if spacing is None else "hd95_mm": hd95,
        "relative_volume_error": (pred_size - label_size) / label_size if label_size else math.nan,
        "presence_true": label_size > 0,
        "presence_pred": pred_size > 0,
    }


class CaseTable:
    """The metrics of many cases under several conditions, never averaged over conditions.

    Args:
        conditions: names a row's condition may have.

    Attributes:
        rows: one dictionary per case, condition and label, as added.
    """

    def __init__(self, conditions: Sequence[str] = CONDITIONS):
        self.conditions = tuple(conditions)
        self.rows: list[dict[str, Any]] = []
        self._added: set[tuple[str, str]] = set()

    def add(self, case: str, condition: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add what ``evaluate_case`` gave for ``case`` under ``condition``.

        Raises:
            ValueError: unknown condition, or the case was added under it before.
        """
        if condition not in self.conditions:
            raise ValueError(
                f"Expected a condition of {', '.join(self.conditions)}, got '{condition}'. Name "
                "new conditions when making the table."
            )
        if (case, condition) in self._added:
            raise ValueError(
                f"Expected every case once per condition, got '{case}' under '{condition}' again. "
                "Give cases of different folders different names."
            )
        self._added.add((case, condition))
        self.rows += [{**row, "case": case, "condition": condition} for row in rows]

    def rename(self, names: Mapping[str, str]) -> None:
        """Give every case the name that ``names`` holds for it; no two cases the same."""
        self.rows = [row | {"case": names[row["case"]]} for row in self.rows]
        self._added = {(names[case], condition) for case, condition in self._added}

    def select(self, condition: str, label: str | None = None) -> list[dict[str, Any]]:
        """Give the rows of one condition, and of one label where given."""
        return [
            row
            for row in self.rows
            if row["condition"] == condition and label in (None, row["label"])
        ]

    def used_conditions(self) -> list[str]:
        """Give the conditions that have rows, in their order."""
        return [condition for condition in self.conditions if self.select(condition)]

    def used_metrics(self) -> list[str]:
        """Give the metrics that have rows, in their order: hd95_mm, hd95_px or both."""
        return [metric for metric in METRICS if any(metric in row for row in self.rows)]

    def case_dice(self, condition: str) -> dict[str, float]:
        """Give each case's Dice under ``condition``, the mean over its labels."""
        return self._case_means(condition, "dice")

    def _case_means(self, condition: str, column: str) -> dict[str, float]:
        """Give each case's mean over labels of a column, cases without it left out."""
        values: dict[str, list[float]] = {}
        for row in self.select(condition):
            if column in row:
                values.setdefault(row["case"], []).append(row[column])
        return {case: float(np.mean(found)) for case, found in values.items()}

    def _error_detection(self, condition: str) -> dict[str, Any]:
        """Say how well the uncertainty finds failed cases; {} where the rows have none."""
        unsure = self._case_means(condition, "uncertainty")
        dice = self.case_dice(condition)
        return {"error_detection": error_detection(unsure, dice)} if unsure else {}

    def summary(self) -> dict[str, Any]:
        """Give mean, sd, median and n of every metric, by condition and label.

        Returns:
            ``{condition: {"n_cases", "dice_over_labels", "by_concept": {concept: {word: {...}}},
            "labels": {label: {"n", metric: {...}, "presence": {...}}}}}``; "dice_over_labels" takes
            one value per case, the mean over its labels; "by_concept" one per case and label, where
            the rows hold what `concept_dice.describe_reference` says. A metric's n counts the
            cases in which it is defined. Where rows have an "uncertainty", also "error_detection":
            {"dice_below", "n", "failed", "area"}, see `calibration.error_detection`.
        """
        return {
            condition: {
                "n_cases": len(self.case_dice(condition)),
                "dice_over_labels": describe(self.case_dice(condition).values()),
                **self._error_detection(condition),
                "by_concept": {
                    concept: {word: describe(values) for word, values in words.items()}
                    for concept, words in group_rows(self.select(condition)).items()
                },
                "labels": {
                    label: self._label_summary(self.select(condition, label))
                    for label in dict.fromkeys(row["label"] for row in self.select(condition))
                },
            }
            for condition in self.used_conditions()
        }

    def _label_summary(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Summarise the rows of one condition and label."""
        metrics = [metric for metric in METRICS if any(metric in row for row in rows)]
        described = {m: describe(row[m] for row in rows if m in row) for m in metrics}
        return {"n": len(rows), **described, "presence": _presence_counts(rows)}

    def write_csv(self, path: str | os.PathLike) -> None:
        """Write one line per case, condition and label; undefined values stay empty."""
        metrics = self.used_metrics()
        columns = [name for name in _COLUMNS if name not in METRICS or name in metrics]
        extra = dict.fromkeys(key for row in self.rows for key in row if key not in _COLUMNS)
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, [*columns, *extra], restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({key: "" if _is_nan(value) else value for key, value in row.items()})
        write_text_atomic(path, buffer.getvalue())

    def write_summary(self, path: str | os.PathLike) -> None:
        """Write ``summary`` as JSON; undefined values are null."""
        write_text_atomic(path, json.dumps(self.summary(), indent=1, allow_nan=False) + "\n")


def _is_nan(value: Any) -> bool:
    """Say whether ``value`` is the float NaN."""
    return isinstance(value, float) and math.isnan(value)


def describe(values: Any) -> dict[str, float | int | None]:
    """Give mean, sd (of the sample, n - 1), median and n of the values that are not NaN."""
    finite = np.array([value for value in values if not _is_nan(value)], dtype=np.float64)
    if not finite.size:
        return {"mean": None, "sd": None, "median": None, "n": 0}
    return {
        "mean": float(finite.mean()),
        "sd": float(finite.std(ddof=1)) if finite.size > 1 else None,
        "median": float(np.median(finite)),
        "n": int(finite.size),
    }


def _presence_counts(rows: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Count present and absent objects that were found, missed or invented."""
    pairs = [(bool(row["presence_true"]), bool(row["presence_pred"])) for row in rows]
    found, missed = pairs.count((True, True)), pairs.count((True, False))
    invented, silent = pairs.count((False, True)), pairs.count((False, False))
    return {
        "true_positive": found,
        "false_negative": missed,
        "false_positive": invented,
        "true_negative": silent,
        "sensitivity": found / (found + missed) if found + missed else None,
        "specificity": silent / (silent + invented) if silent + invented else None,
    }
