"""A bundle of this project as the pattern for one with other labels: configs, metadata, card, start weights."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser

from ..concepts.descriptors import QUESTIONS
from ..concepts.naming import names_a_side
from ..datasets import without_card
from ..export.model_card import CARD, write_card
from ..export.renaming import load_config
from ..export.zoo_checks import LICENCE_TO_STATE, NOT_STATED
from ..start_weights import load_start_weights
from .prose import card_of

CONFIGS = (
    *("train", "inference", "evaluate", "multi_gpu_train", "baseline", "active_learning"),
    "extract_concepts",
)
_OVERLAYS = ("evaluate", "multi_gpu_train", "baseline", "active_learning")  # laid over train
_LINE = re.compile(r"(\s*)([\w#]+): (.*?)(\s+#.*)?")
TASK = "_segmentation"
WINDOWED = 2.0  # a window spans -2 to 2, about as normalised intensities do


@dataclass(frozen=True)
class OwnBundle:
    """What the new bundle is for.

    Attributes:
        labels: names of label values 1..K, as prompts will say them.
        title: of the README, such as "Kidneys in CT".
        modality: short name such as "CT"; None: as the pattern.
        spacing, slice_axes, slice_size: of volumes, see `VolumeChoices`; None: as the pattern.
        image_size: side of the square that pictures are resized to; None: as the pattern.
        is_grey: pictures without color, so that concepts say their intensity.
        largest_part: volumes: of each label only the largest connected part is kept.
        window: volumes: (lowest, highest) value that is told apart, in the image's units, as for CT;
            None: each case is normalised by its mean and standard deviation.
    """

    labels: Sequence[str]
    title: str
    modality: str | None = None
    spacing: Sequence[float] | None = None
    slice_axes: Sequence[int] | None = None
    slice_size: int | None = None
    image_size: int | None = None
    is_grey: bool = False
    largest_part: bool = False
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse labels that prompts could not name, and an empty window."""
        labels = [label.lower() for label in self.labels]
        bad = [x for x in labels if not re.fullmatch(r"[^\W\d_][^\W_]*(?:[ -][^\W\d_][^\W_]*)*", x)]
        if bad or not labels or len(set(labels)) < len(labels):
            raise ValueError(
                f"expected different labels of words, such as 'left kidney', got {list(self.labels)};"
                " prompts name a label by its words"
            )
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(
                f"expected a window's lowest value below its highest, got {self.window}"
            )

    def values(self) -> dict[str, Any]:
        """Config values that are not the pattern's."""
        chosen = {
            "keywords": list(self.labels),
            "title": self.title,
            "color": not self.is_grey,
            "largest_part": self.largest_part,
            "spacing": self.spacing and list(self.spacing),
            "slice_axes": self.slice_axes and list(self.slice_axes),
            "slice_size": self.slice_size,
            "image_size": self.image_size,
        }
        if any(map(names_a_side, self.labels)):
            chosen["flip_probability"] = 0.0  # a mirrored left kidney would be a right one
        if (self.modality or "").lower() in QUESTIONS:
            chosen["modality"] = self.modality.lower()
        return {name: value for name, value in chosen.items() if value is not None}


def write_own_bundle(
    target: Path,
    pattern: Path,
    own: OwnBundle,
    weights: Path | None = None,
    weights_keywords: Sequence[str] | None = None,
) -> Path:
    """Write a bundle that trains, infers and is served like `pattern`, for other labels.

    Args:
        target: new folder; its name is the model's.
        pattern: bundle of this project with the same kind of images.
        own: labels and sizes.
        weights: of a network of the pattern's form, to start from; None: none, train first.
        weights_keywords: the labels that `weights` know; None: those of the bundle they lie in.

    Returns:
        `target`.

    Raises:
        FileExistsError: `target` exists.
        FileNotFoundError: no bundle at `pattern`, or no weights.
        ValueError: a name that cannot be a model's, weights of another network, or a pattern that
            uses what `own` chooses without a line for it.
    """
    target, pattern = Path(target), Path(pattern)
    if target.exists():
        raise FileExistsError(f"expected a new folder, got {target}, which exists; choose another")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", target.name):
        raise ValueError(
            f"expected a folder name of words joined by _, such as kidneys{TASK}, got {target.name!r};"
            " it is the name that clients show, and the model zoo takes no other"
        )
    if not (pattern / CARD).is_file():
        raise FileNotFoundError(f"expected a bundle of this project with {CARD}, got {pattern}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new_bundle_") as folder:
        made = Path(folder) / target.name
        (made / "configs").mkdir(parents=True)
        (made / "docs").mkdir()
        for name in CONFIGS:
            text = (pattern / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
            (made / "configs" / f"{name}.yaml").write_text(_own_text(text, own), encoding="utf-8")
        _check_written(made / "configs", own.values())
        for name in ("configs/logging.conf", "LICENSE"):
            shutil.copyfile(pattern / name, made / name)
        metadata = _own_metadata(load_config(pattern / "configs" / "metadata.json"), own)
        if weights is None:
            metadata["intended_use"] = "Research and annotation support. Not for clinical use."
        text = json.dumps(metadata, indent=4) + "\n"
        (made / "configs" / "metadata.json").write_text(text, encoding="utf-8")
        source = _start(made, weights, weights_keywords) if weights else None
        _write_docs(made, own, source)
        made.rename(target)
    return target


def with_task(target: Path) -> Path:
    """The folder with the ending by which the model zoo and MONAI Label's own app know the task."""
    return target if target.name.endswith(TASK) else target.with_name(target.name + TASK)


def is_volume_bundle(bundle: Path) -> bool:
    """True for a bundle of volumes, False for one of pictures.

    Raises:
        FileNotFoundError: no bundle there.
    """
    return "slice_axes" in load_config(Path(bundle) / "configs" / "inference.yaml")


def bundle_of(weights: Path) -> Path | None:
    """The bundle in whose models folder the weights lie, or None."""
    source = Path(weights).resolve().parent.parent
    return source if (source / "configs" / "inference.yaml").is_file() else None


def _own_text(text: str, own: OwnBundle) -> str:
    """A config with the values of `own`, and nothing of data set cards; comments stay."""
    values, lines = own.values(), []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        key = found and found[2]
        if key == "dataset_card":
            continue
        if found and ("conceptseg.datasets.card_" in found[3] or (key in values and not found[1])):
            value = values.get(key, without_card(yaml.safe_load(found[3])))
            note = found[4] or ""
            if key == "keywords":
                note = (
                    f" # label values 1 to {len(value)}" if len(value) > 1 else " # label value 1"
                )
            line = f"{found[1]}{key}: {_flow(value)}{note}"
        elif own.window and line.lstrip().startswith("- _target_: NormalizeIntensityd"):
            line = _windowing(line[: line.index("-")], own.window)
        elif line.startswith("#   ... --prompt"):
            line = f'#   ... --prompt "{own.labels[-1]}"'
        lines.append(line)
    return "\n".join(lines) + "\n"


def _check_written(folder: Path, values: dict[str, Any]) -> None:
    """Refuse configs that refer to a chosen value but hold another one, or none."""
    configs = {name: load_config(folder / f"{name}.yaml") for name in CONFIGS}
    for name, config in configs.items():
        known = configs["train"] | config if name in _OVERLAYS else config
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        used = [key for key in values if re.search(rf"@{key}\b", text)]
        lost = [key for key in used if known.get(key) != values[key]]
        if lost:
            raise ValueError(
                f"expected a line of its own for {', '.join(lost)} in the pattern's {name}.yaml, which"
                f" refers to it, got {[known.get(key) for key in lost]}; add it there, not indented"
            )


def _windowing(indent: str, window: tuple[float, float]) -> str:
    """The step that takes the place of normalisation; the line with its keys follows."""
    bounds = {"a_min": window[0], "a_max": window[1], "b_min": -WINDOWED, "b_max": WINDOWED}
    lines = ["- _target_: ScaleIntensityRanged # the window", "  clip: true"]
    lines += [f"  {name}: {value:g}" for name, value in bounds.items()]
    return "\n".join(indent + line for line in lines)


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _own_metadata(metadata: dict[str, Any], own: OwnBundle) -> dict[str, Any]:
    """metadata.json for these labels."""
    names = ", ".join(own.labels)
    described = ", ".join(f"{value} {name}" for value, name in enumerate(own.labels, start=1))
    data = metadata["network_data_format"]
    image, pred = data["inputs"]["image"], data["outputs"]["pred"]
    kind = own.modality or image["modality"]
    image["modality"] = kind
    if len(image["channel_def"]) == 1:
        image["channel_def"] = {"0": kind}
    channels = ["background", *own.labels]
    pred["channel_def"] = {str(i): name for i, name in enumerate(channels)}
    pred["num_channels"] = len(channels)
    volume = len(image["spatial_shape"]) == 3
    scaled = "normalised per case"
    if own.window:
        image["value_range"] = [-WINDOWED, WINDOWED]
        scaled = f"{own.window[0]:g} to {own.window[1]:g} scaled to -2 to 2"
    return metadata | {
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "authors": NOT_STATED,
        "copyright": NOT_STATED,
        "name": f"{own.title} with concept prompts",
        "task": f"Segmentation of {names} in {kind} images, text-free or following a concept prompt",
        "data_source": NOT_STATED,
        "eval_metrics": {},
        "image_classes": f"single-channel {kind} volume, intensities {scaled}"
        if volume
        else metadata["image_classes"],
        "label_classes": f"integer map: 0 background, {described}",
        "pred_classes": f"{len(channels)} channels of probabilities, background first",
        "references": metadata["references"][:1],
    }


def _start(bundle: Path, weights: Path, keywords: Sequence[str] | None) -> Path | None:
    """Write models/model.pt from other weights; gives the bundle these lie in, if they lie in one."""
    source = bundle_of(weights)
    if keywords is None and source:
        keywords = load_config(source / "configs" / "inference.yaml").get("keywords")
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    network = parser.get_parsed_content("network_def")
    load_start_weights(network, weights, keywords)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return source


def _write_docs(bundle: Path, own: OwnBundle, source: Path | None) -> None:
    """Card, README and the note on data licences."""
    start = source.name if source else None
    card = card_of(own.title, own.labels, is_volume_bundle(bundle), own.largest_part, start)
    head = "# Prose of docs/README.md; python scripts/model_card.py BUNDLE adds the figures.\n"
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)
    (bundle / CARD).write_text(head + text, encoding="utf-8")
    licence = f"{LICENCE_TO_STATE}\n"
    if source and (source / "docs" / "data_license.txt").is_file():
        licence += f"\nThe first weights come from {source.name}; its terms:\n\n"
        licence += (source / "docs" / "data_license.txt").read_text(encoding="utf-8")
    (bundle / "docs" / "data_license.txt").write_text(licence, encoding="utf-8")
    write_card(bundle)
