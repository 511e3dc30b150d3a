"""From a run to the bundle's own training config with the run's settings laid over it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..training import set_epoch_length
from .budget import StepTimer
from .matrix import Contestant, DataSet, RunSpec

_PROMPT_TRANSFORM = "conceptseg.transforms.ConceptPromptd"
_PLAIN_TRANSFORM = "conceptseg.benchmark.plain_targets.PlainTargetsd"
_CACHE_DATASET = "conceptseg.benchmark.shared_cache.SharedCacheDataset"
# what training writes beside the checkpoint: of no use here, and not free
_DROPPED_HANDLERS = (
    "ignite.handlers.ProgressBar",
    "TensorBoardStatsHandler",
    "StatsHandler",
    "conceptseg.training.LossScalars",
    "conceptseg.training.TrainingProgress",
)
METER_ID, CURVE_ID = "train#handlers#0", "validate#handlers#0"
# modules whose code decides what any network learns, a plain one, and one with concepts
_SHARED_CODE = (
    *("copy_paste", "negatives", "random_pair", "slices"),
    *("engines", "inferer", "losses", "training"),
)
_PLAIN_CODE = (*_SHARED_CODE, "plain")
_CODE = (
    *_SHARED_CODE,
    *("backbones", "blocks", "decoder", "distillation", "network", "prompts", "readout"),
    *("transforms", "concepts/measured", "concepts/sentences"),
)


def read_config(
    bundle_root: Path,
    data_set: DataSet,
    contestant: Contestant,
    spec: RunSpec,
    evaluate: bool = False,
    learning_rate: float | None = None,
) -> ConfigParser:
    """The bundle's train.yaml with the contestant's overlays and all settings, not parsed yet.

    Args:
        bundle_root: folder of the data set's bundle.
        data_set: its settings come first.
        contestant: its overlays and settings come over them.
        spec: gives the seed.
        evaluate: lay the bundle's evaluate.yaml over it.
        learning_rate: over the config's; None leaves it.
    """
    overlays = [*contestant.overlays, *(["evaluate"] if evaluate else [])]
    files = [bundle_root / "configs" / f"{name}.yaml" for name in ("train", *overlays)]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected the configs of a bundle, got no {missing}; see --bundles"
        )
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser["bundle_root"] = str(bundle_root)
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    settings = {**data_set.settings, **rate, **contestant.settings}
    for key, value in settings.items():
        # a copy, because a parsed config is rewritten in place
        parser[resolve_id(parser, key)] = copy.deepcopy(value)
    parser["seed"] = spec.seed
    parser["patience"] = 0  # every contestant uses its whole budget
    for section in ("train", "validate"):
        if parser[section]["dataset"]["_target_"] == "CacheDataset":
            parser[section]["dataset"]["progress"] = False
    if contestant.plain:
        index = _prompt_index(parser)
        keywords = parser["train"]["random_transforms"][index]["keywords"]
        swapped = {"_target_": _PLAIN_TRANSFORM, "keywords": keywords}
        parser[f"train#random_transforms#{index}"] = swapped
    return parser


def resolve_id(parser: ConfigParser, key: str) -> str:
    """`key`, with "prompt#" replaced by the id of the transform that makes the prompts."""
    if not key.startswith("prompt#"):
        return key
    return f"train#random_transforms#{_prompt_index(parser)}#{key.removeprefix('prompt#')}"


def _prompt_index(parser: ConfigParser) -> int:
    """Place of the transform that makes the prompts."""
    targets = [t["_target_"] for t in parser["train"]["random_transforms"]]
    if _PROMPT_TRANSFORM not in targets:
        raise ValueError(
            f"expected {_PROMPT_TRANSFORM} among train#random_transforms, got {targets}"
        )
    return targets.index(_PROMPT_TRANSFORM)


def images_per_step(parser: ConfigParser, data_set: DataSet, cases: int) -> int:
    """Images in an optimiser step; of fewer cases than fill a batch, it is all of them."""
    first, *rest = (int(parser.get_parsed_content(key)) for key in data_set.images_per_step)
    return min(first, cases) * math.prod(rest)


def fingerprint(parser: ConfigParser, spec: RunSpec, contestant: Contestant) -> str:
    """Short hash of what decides a run's result: its config, its budget and the code."""
    content = {k: v for k, v in parser.get().items() if k not in ("bundle_root", "seed")}
    digest = hashlib.sha1(json.dumps(content, sort_keys=True, default=str).encode())
    digest.update(f"{spec.budget} {spec.amount}".encode())
    package = Path(__file__).resolve().parents[1]
    for name in _PLAIN_CODE if contestant.plain else _CODE:
        digest.update((package / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def set_paths(parser: ConfigParser, folder: Path, data_dir: Path) -> None:
    """Let the config read its split from, and write to, the run's folder."""
    parser["dataset_dir"] = str(data_dir)
    parser["output_dir"] = parser["ckpt_dir"] = str(folder)
    parser["split_file"] = str(folder / "split.json")


def share_cache(parser: ConfigParser) -> None:
    """Keep decoded images between runs: reading them costs as much as a short training."""
    plain = {k: v for k, v in parser.get().items() if isinstance(v, int | float | list)}
    described = [plain, parser["train"]["deterministic_transforms"]]
    variant = hashlib.sha1(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()
    for section in ("train", "validate"):
        dataset = parser[section]["dataset"]
        if dataset["_target_"] == "CacheDataset":
            dataset |= {"_target_": _CACHE_DATASET, "variant": variant}


def set_budget(parser: ConfigParser, steps: int, validations: int) -> None:
    """Give training `validations` epochs of `steps` optimiser steps, however many cases there are."""
    parser["max_epochs"] = validations
    parser["val_interval"] = 1
    set_epoch_length(parser, steps)


def set_handlers(parser: ConfigParser) -> None:
    """Add the meter and the curve, each first of its list, and leave out what only reports."""
    own = {
        "train": "conceptseg.benchmark.budget.BudgetMeter",
        "validate": "conceptseg.benchmark.budget.ValidationCurve",
    }
    for section, target in own.items():
        kept = [h for h in parser[section]["handlers"] if not _dropped(h)]
        parser[section]["handlers"] = [{"_target_": target}, *kept]


def set_timing(parser: ConfigParser, seconds: float) -> None:
    """Turn the config into a throw-away run of so many seconds, without validation or checkpoint."""
    set_budget(parser, StepTimer.most_steps, 1)
    schedule = [h for h in parser["train"]["handlers"] if _target(h) == "LrScheduleHandler"]
    timer = {"_target_": "conceptseg.benchmark.budget.StepTimer", "seconds": seconds}
    parser["train"]["handlers"] = [timer, *schedule]


def _target(handler: Mapping[str, Any] | str) -> str:
    """Class of a handler in a config."""
    return handler["_target_"] if isinstance(handler, Mapping) else ""


def _dropped(handler: Mapping[str, Any] | str) -> bool:
    """True for a handler that only reports."""
    return _target(handler) in _DROPPED_HANDLERS
