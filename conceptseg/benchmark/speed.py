"""Inference time on the CPU, all contestants interleaved in one run."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..atomic import write_text_atomic
from . import recipe
from .execution import Places
from .matrix import Matrix, RunSpec

logger = logging.getLogger(__name__)

SPEED = "speed.json"
REFERENCE = "unet"
_ROUNDS = 40
_WARM_ROUNDS = 3


def measure_speed(matrix: Matrix, places: Places, rounds: int = _ROUNDS) -> dict[str, dict]:
    """Time one text-free forward pass of one image, in turns, so that a busy machine slows all alike.

    Writes speed.json beside the records.

    Args:
        matrix: its contestants and data sets; `REFERENCE` must be among the contestants.
        places: folders.
        rounds: turns that count.

    Returns:
        Data set -> {"size", "milliseconds": contestant -> median, "ratio": contestant -> median over
        the turns of its time over the reference's, "parameters": contestant -> number}.
    """
    if REFERENCE not in matrix.contestants:
        raise ValueError(
            f"expected {REFERENCE!r} among the contestants, got {list(matrix.contestants)}"
        )
    if matrix.threads:
        torch.set_num_threads(matrix.threads)
    results = read_speed(places.output_dir)
    for data_set in matrix.data_sets.values():
        networks, image = {}, None
        for contestant in matrix.contestants.values():
            spec = RunSpec(data_set.name, contestant.name, 1.0, 0, "images", 1)
            bundle_root = places.bundles_dir / data_set.bundle
            parser = recipe.read_config(bundle_root, data_set, contestant, spec)
            parser["device"] = "cpu"
            network = parser.get_parsed_content("network_def").eval()
            size = parser.get_parsed_content(
                "image_size" if "image_size" in parser else "slice_size"
            )
            image = torch.rand(1, parser.get_parsed_content("in_channels"), size, size)
            networks[contestant.name] = network
        results[data_set.name] = {
            "size": list(image.shape),
            **time_networks(networks, image, rounds),
        }
        logger.info("%s: %s", data_set.name, results[data_set.name]["ratio"])
        text = json.dumps(results, indent=1) + "\n"
        write_text_atomic(places.output_dir / SPEED, text)
    return results


@torch.no_grad()
def time_networks(
    networks: dict[str, nn.Module], image: torch.Tensor, rounds: int
) -> dict[str, dict]:
    """Times of `networks` on `image`, one pass each per round; see `measure_speed`."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(_WARM_ROUNDS + rounds):
        for name, network in networks.items():
            start = time.perf_counter()
            network(image)
            if turn >= _WARM_ROUNDS:
                times[name].append(time.perf_counter() - start)
    reference = np.array(times[REFERENCE])
    return {
        "milliseconds": {n: round(1000 * float(np.median(t)), 2) for n, t in times.items()},
        "ratio": {n: round(float(np.median(np.array(t) / reference)), 3) for n, t in times.items()},
        "parameters": {n: sum(p.numel() for p in net.parameters()) for n, net in networks.items()},
    }


def read_speed(output_dir: Path) -> dict[str, dict]:
    """What was measured, by data set."""
    path = output_dir / SPEED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
