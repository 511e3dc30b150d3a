"""Does the source of the concepts change what is learned? Trains the polyp bundle with each, several seeds.

Every run is written to the results as it ends; a stopped comparison goes on where it was.

    python scripts/compare_concept_sources.py --data KVASIR --table ANSWERS.csv --output FOLDER

Arms: *measured* (on the augmented label), *model* (the table's words alone, places moved with the
augmentation), *fused* (measured, with the table's colour). The three differ in nothing else: prompts for a
part of a label or for an empty place, which speak of the mask in any case, and copied objects, of which a
table knows nothing, are switched off in all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from conceptseg.atomic import write_text_atomic
from conceptseg.benchmark.recipe import resolve_id
from conceptseg.extraction.tables import import_table

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "polyp_endoscopy_segmentation"
ARMS = {"measured": None, "model": "moved", "fused": "remeasured"}


def main() -> int:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data set folder")
    parser.add_argument("--table", type=Path, required=True, help="CSV of a model's concepts")
    parser.add_argument("--output", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--seeds", type=int, default=3, help="runs per arm (default 3)")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of 640 images (default 8)")
    parser.add_argument("--image-size", type=int, default=96, help="pixels (default 96)")
    parser.add_argument("--keyword", default="polyp", help="label the table describes")
    options = parser.parse_args()
    concepts = options.output / "concepts.jsonl"
    if not concepts.exists():
        import_table(options.table, concepts, options.keyword, options.data)
    results = options.output / "results.json"
    done = json.loads(results.read_text()) if results.exists() else {}
    for seed in range(options.seeds):
        for arm in ARMS:
            name = f"{arm} {seed}"
            if name not in done:
                done[name] = train(options, concepts, arm, seed)
                write_text_atomic(results, json.dumps(done, indent=1))
                print(name, done[name], flush=True)
    for arm in ARMS:
        for key in ("best_dice", "last_dice"):
            scores = [done[f"{arm} {seed}"][key] for seed in range(options.seeds)]
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            print(f"{arm:9s} {key} {statistics.mean(scores):.3f} ± {spread:.3f} {scores}")
    return 0


def train(options: argparse.Namespace, concepts: Path, arm: str, seed: int) -> dict:
    """One run: best and last text-free validation Dice, minutes."""
    folder = options.output / f"{arm}_{seed}"
    channels = [16, 32, 64, 96]
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "train.yaml")
    overrides = {
        "dataset_dir": options.data.resolve(),
        "output_dir": folder.resolve(),
        "ckpt_dir": folder.resolve(),
        "split_file": (options.output / "split.json").resolve(),  # one split for all
        "seed": seed,
        "max_epochs": options.epochs,
        "image_size": options.image_size,
        "val_interval": max(1, options.epochs // 4),
        "copy_probability": 0,
        "network_def#backbone#feature_channels": channels,
        "network_def#decoder#feature_channels": channels,
        **{
            resolve_id(config, f"prompt#{name}_share"): 0 for name in ("component", "contradiction")
        },
    }
    if ARMS[arm]:
        overrides |= {"concepts_file": concepts.resolve(), "concepts_geometry": ARMS[arm]}
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(BUNDLE)]
    command += ["--config_file", str(BUNDLE / "configs" / "train.yaml")]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    state = torch.load(folder / "last.pt", weights_only=False)["state"]
    text = (folder / "log.txt").read_text()
    scores = [
        line.split("validation ")[1].split(",")[0]
        for line in text.splitlines()
        if "INFO" in line and "validation " in line and ", best" in line
    ]
    return {
        "best_dice": round(state["best_metric"], 4),
        "last_dice": float(scores[-1]),
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
