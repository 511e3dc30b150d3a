"""Fixed splits: cases to train on, to choose the checkpoint by, and to test on once."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datalist import folder_datalist
from ..datalist_layouts import Datalist, read_layout
from ..image_formats import case_name
from ..image_io import ConceptImageReader

SPLIT_KINDS = ("folders", "folds", "file")


def make_split(
    data_dir: str | os.PathLike,
    split: Mapping[str, Any],
    bundle_root: str | os.PathLike,
    fold: int | None = None,
) -> Datalist:
    """Give the cases of every section; the same ones on every machine.

    Args:
        data_dir: data set folder.
        split: "kind" and its options. "folders": the folder's own validation cases are tested on,
            and "selection" (share) of its training cases choose the checkpoint. "folds": "count"
            folds with equal shares of cases without any object, the same ones whatever format the
            images have; fold `fold` is tested on, and "selection" of the others choose the checkpoint.
            "file": a split file "path" below the bundle.
        bundle_root: of the data set's bundle.
        fold: number of the fold, for "folds".

    Returns:
        "training", "validation" (chooses the checkpoint) and "testing" cases.

    Raises:
        ValueError: for another kind, a fold that does not exist, or nothing to train on.
        FileNotFoundError: for a split file that does not exist.
    """
    kind = split["kind"]
    if kind == "file":
        path = Path(bundle_root) / split["path"]
        if not path.is_file():  # or one would be drawn, without cases to test on
            raise FileNotFoundError(f"expected the split file {path}, got none; correct the path")
        return folder_datalist(data_dir, path)
    if kind not in SPLIT_KINDS:
        raise ValueError(f"expected a split kind out of {SPLIT_KINDS}, got {kind!r}")
    cases = read_layout(Path(data_dir))
    if not cases["training"]:
        raise ValueError(f"expected cases to train on in {data_dir}, got none; correct the folder")
    if kind == "folders":
        testing, rest, order = cases["validation"], cases["training"], _order
    else:
        testing, rest = _fold(cases["training"], int(split["count"]), fold)
        order = _fold_order
    ordered = sorted(rest, key=order)
    chosen = max(1, round(float(split["selection"]) * len(ordered)))
    return {"training": ordered[chosen:], "validation": ordered[:chosen], "testing": testing}


def _order(case: Mapping[str, Any]) -> str:
    """Sort key that looks random and depends on the file name alone."""
    return hashlib.sha1(Path(case["image"]).name.encode()).hexdigest()


def _fold_order(case: Mapping[str, Any]) -> str:
    """`_order` as if every file were a JPEG, as the images of the published folds are."""
    return _order({"image": f"{case_name(case['image'])}.jpg"})


def _fold(cases: Sequence[dict], count: int, fold: int | None) -> tuple[list[dict], list[dict]]:
    """Cases of one fold and the rest; cases with an empty mask are dealt out evenly."""
    if fold is None or not 0 <= fold < count:
        raise ValueError(f"expected a fold in 0..{count - 1}, got {fold}; list them under folds")
    reader = ConceptImageReader(is_label=True)
    empty = [
        case for case in cases if not (reader.get_data(reader.read(case["label"]))[0] > 0).any()
    ]
    names = {case["image"] for case in empty}
    full = [case for case in cases if case["image"] not in names]
    dealt = [*sorted(full, key=_fold_order), *sorted(empty, key=_fold_order)]
    testing = dealt[fold::count]
    names = {case["image"] for case in testing}
    return testing, [case for case in dealt if case["image"] not in names]


def nested_fraction(cases: Sequence[dict], fraction: float, seed: int) -> list[dict]:
    """The first part of the cases in an order drawn by `seed`: smaller fractions lie in larger ones.

    Args:
        cases: to draw from.
        fraction: in (0, 1]; at least one case is kept.
        seed: of the order.

    Raises:
        ValueError: for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"expected a fraction in (0, 1], got {fraction}")
    order = np.random.default_rng(seed).permutation(len(cases))
    return [cases[i] for i in order[: max(1, math.ceil(fraction * len(cases) - 1e-9))]]
