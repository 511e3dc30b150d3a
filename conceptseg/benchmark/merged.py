"""One generalist against specialists: every set in one form, alone and merged with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import LoadImage, Orientation, ScaleIntensityRangePercentiles, SpatialPad
from torch import Tensor
from tqdm import tqdm

from ..atomic import atomic_path
from ..datasets.writing import to_picture
from ..image_checks import threshold_mask
from ..image_formats import case_name
from ..image_io import ConceptImageReader
from ..slices import volume_to_slices
from .comparison import compare_scores
from .matrix import DataSet
from .records import CASES, RunStore
from .splits import make_split
from .tables import interval, spread

ALL = "all"
SLICE_STEP = 5  # of a volume's axial slices, so that no set outnumbers the others
_SHOWN_PERCENTILES = (0.5, 99.5)  # of a volume's intensities, from black to white
_SECTIONS = {"training": "train", "validation": "train", "testing": "validation"}


def merge_sets(
    data_dir: Path, out: Path, bundles: Path, sets: Sequence[DataSet], labels: Sequence[int]
) -> None:
    """Write every set as 8-bit pictures with label maps, and all of them together.

    `out`/SET/train, and validation, which is tested on, hold images and masks; `out`/all holds those of
    every set, label numbers following one another in the order of the sets. Volumes become every
    `SLICE_STEP`-th axial slice, its two neighbours in the other colour channels. A set that is complete
    is not written again.

    Args:
        data_dir: folder of the sets.
        out: folder to write to.
        bundles: folder of the bundles.
        sets: in their own form, with at most one fold.
        labels: number of labels of each.

    Raises:
        FileNotFoundError: a set that `data_dir` lacks.
    """
    for i, (data_set, count) in enumerate(zip(sets, labels, strict=True)):
        done = out / data_set.name / "complete"
        if done.is_file():
            continue
        folder = data_dir / data_set.folder
        split = make_split(folder, data_set.split, bundles / data_set.bundle, data_set.folds[0])
        # label numbers in the set's own pictures and in the merged ones; a single label is white
        numbers = {
            data_set.name: [255] if count == 1 else range(1, count + 1),
            ALL: [sum(labels[:i]) + k for k in range(1, count + 1)],
        }
        cases = [(part, case) for section, part in _SECTIONS.items() for case in split[section]]
        for part, case in tqdm(cases, desc=f"{data_set.name} as pictures", unit="case"):
            for file, image, label in _pictures(data_set.name, case):
                for target, values in numbers.items():
                    place = out / target / part
                    mask = np.array([0, *values], np.uint8)[label]
                    for kind, array in (("images", image), ("masks", mask)):
                        with atomic_path(place / kind / file) as temporary:
                            to_picture(array).save(temporary)
        done.touch()


def _pictures(name: str, case: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """File name, image (3, W, H) in 0..255 and label numbers (1, W, H) of a photograph, or of every slice."""
    image = _read(case["image"])
    label = _read(case["label"], is_label=True)
    stem = f"{name}_{case_name(case['image'])}"
    if image.ndim == 3:
        yield f"{stem}.png", image.numpy(), threshold_mask(label).numpy().astype(int)
        return
    image = ScaleIntensityRangePercentiles(*_SHOWN_PERCENTILES, 0, 255, clip=True)(image)
    square = SpatialPad([max(image.shape[1:3])] * 2)
    chosen = range(0, image.shape[3], SLICE_STEP)
    slices = zip(
        chosen,
        volume_to_slices(image, 2, context=1, only=chosen),
        volume_to_slices(label, 2, only=chosen),
        strict=True,
    )
    for number, one, mask in slices:
        yield (
            f"{stem}_{number:03d}.png",
            np.asarray(square(one)),
            np.asarray(square(mask)).astype(int),
        )


def _read(path: str, is_label: bool = False) -> Tensor:
    """(C, *spatial) of an image file, volumes in RAS."""
    reader = ConceptImageReader(is_label=is_label)
    image = LoadImage(reader=reader, image_only=True, ensure_channel_first=True)(path)
    image = Orientation(axcodes="RAS", labels=None)(image) if image.ndim == 4 else image
    return image.as_tensor().float()


def compare_by_label(store: RunStore, contestant: str) -> tuple[list[str], list[list[str]]]:
    """Header and one row per label and condition: the generalist's Dice beside the specialists'.

    Only cases that show the label count, the same ones on both sides.
    """
    scores: dict[str, dict[tuple[str, str], dict[int, dict[str, float]]]] = {}
    for record, row in _rows(store, contestant, CASES):
        if row["presence_true"] == "True":
            side = scores.setdefault(ALL if record["data_set"] == ALL else "own", {})
            by_seed = side.setdefault((row["label"], row["condition"]), {})
            by_seed.setdefault(record["seed"], {})[row["case"]] = float(row["dice"])
    header = ["Label", "Condition", "Generalist", "Specialist", "Difference [95 %]"]
    rows = []
    for key, generalist in scores.get(ALL, {}).items():
        specialist = scores.get("own", {}).get(key, {})
        rows.append(
            [
                key[0],
                key[1].replace("_", " "),
                *(_spread(side) for side in (generalist, specialist)),
                interval(compare_scores(generalist, specialist)),
            ]
        )
    return header, rows


def _rows(
    store: RunStore, contestant: str, table: str
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Record and row, for every row of a table of the contestant's runs; runs without it are left out."""
    for record in store.records():
        wanted = record["status"] == "done" and record["contestant"] == contestant
        if wanted and (store.folder(record["key"]) / table).is_file():
            for row in store.table(record["key"], table):
                yield record, row


def _spread(by_seed: Mapping[int, Mapping[str, float]]) -> str:
    """Mean and range over seeds of the mean over cases."""
    return spread([float(np.mean(list(cases.values()))) for cases in by_seed.values()])


def absent_table(store: RunStore, contestant: str) -> tuple[list[str], list[list[str]]]:
    """Header and one row per label: how often the generalist finds nothing in images without it.

    From the recorded analysis "absence": mask empty and presence below its threshold.
    """
    kinds = {"text_free": "Text-free", "keyword": "Asked for by name"}
    silent: dict[str, dict[str, dict[int, list[bool]]]] = {}
    for record, row in _rows(store, contestant, "absence.csv"):
        if record["data_set"] == ALL and row["set"] == "whole":
            of_kind = silent.setdefault(row["label"], {}).setdefault(row["prompt"], {})
            of_kind.setdefault(record["seed"], []).append(row["silent"] == "True")
    rows = [
        [
            label,
            str(max(len(v) for v in of_label["keyword"].values())),
            *(spread([float(np.mean(v)) for v in of_label[kind].values()]) for kind in kinds),
        ]
        for label, of_label in silent.items()
    ]
    return ["Label", "Images without it", *kinds.values()], rows
