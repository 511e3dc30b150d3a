"""Time one pick of every strategy from a pool of simulated image features."""

import argparse
import sys
import time

import numpy as np

from conceptseg.active_learning import ATTRIBUTE_NAMES, STRATEGIES, Pool
from conceptseg.concepts import ATTRIBUTES


def simulated_pool(cases: int, annotated: int, seed: int) -> Pool:
    """A pool of random features in clusters, two labels, part of it annotated."""
    rng = np.random.default_rng(seed)
    labels, sizes = 2, [len(ATTRIBUTES[name]) for name in ATTRIBUTE_NAMES]
    groups = rng.integers(50, size=cases)
    labelled = np.arange(cases) < annotated
    return Pool(
        keywords=("anterior hippocampus", "posterior hippocampus"),
        names=tuple(f"case_{i:05d}" for i in range(cases)),
        labelled=labelled,
        available=~labelled,
        encoder=rng.normal(size=(50, 512))[groups] + rng.normal(size=(cases, 512)),
        student=rng.normal(size=(50, labels, 128))[groups] + rng.normal(size=(cases, labels, 128)),
        entropy=rng.gamma(2, size=(cases, labels)),
        foreground=rng.beta(1, 10, size=(cases, labels)),
        concepts=np.stack([rng.integers(n, size=(cases, labels)) for n in sizes], axis=-1),
        disagreement=rng.beta(2, 5, size=(cases, labels)),
    )


def main() -> int:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="images in the pool")
    parser.add_argument("--annotated", type=int, default=1_000, help="of which annotated")
    parser.add_argument("--count", type=int, default=10, help="cases picked")
    args = parser.parse_args()
    pool = simulated_pool(args.cases, args.annotated, seed=0)
    print(f"{args.count} picks from {args.cases} images, {args.annotated} of them annotated")
    for name, strategy in STRATEGIES.items():
        start, cpu = time.perf_counter(), time.process_time()
        picks = strategy.pick(pool, args.count, round_number=1)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(f"{name:22} {seconds:6.3f} s ({cpu:.3f} s CPU)   {picks[0].reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
