"""Simulate annotation rounds on a labelled folder: which strategy needs the fewest labels?

python scripts/active_learning.py BUNDLE DATA OUTPUT --short
writes OUTPUT/rounds.jsonl, a row per round, and OUTPUT/rounds.html with the curves. Stopped, it goes on
with the round it was in; more seeds or strategies may be asked for later.
"""

import argparse
import logging
import sys
from pathlib import Path

import yaml

from conceptseg.active_learning import STRATEGIES
from conceptseg.active_learning.curves import write_curves_page
from conceptseg.active_learning.rounds import run_simulation


def main() -> int:
    """Parse, simulate, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "bundle", type=Path, help="bundle folder, such as bundles/NAME_segmentation"
    )
    parser.add_argument("data", type=Path, help="images with masks, as for training")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument(
        "--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--start", type=float, default=0.025, help="first batch, share of the pool")
    parser.add_argument("--budget", type=float, default=0.4, help="annotated in the end, share")
    parser.add_argument(
        "--batch", type=int, help="cases per round; default: they double each round"
    )
    parser.add_argument("--iterations", type=int, default=200, help="optimizer steps per round")
    parser.add_argument("--candidates", type=int, help="cases scored per round; default: all")
    parser.add_argument(
        "--test-fraction", type=float, default=0.2, help="where DATA has no test part"
    )
    parser.add_argument("--short", action="store_true", help="small images and network, for a CPU")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID=VALUE",
        help="config values, as keywords=[wound]",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("monai", "ignite", "conceptseg.datalist_split"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        run_simulation(
            args.bundle,
            args.data,
            args.output,
            strategies=args.strategies,
            seeds=args.seeds,
            settings={
                "start": args.start,
                "budget": args.budget,
                "batch": args.batch,
                "iterations": args.iterations,
                "candidates": args.candidates,
                "test_fraction": args.test_fraction,
                "short": args.short,
                "overrides": config_values(args.set),
            },
        )
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    page = write_curves_page(args.output)
    print(f"record: {args.output / 'rounds.jsonl'}\npage: {page}")
    return 0


def config_values(pairs: list[str]) -> dict:
    """Config id -> value of "ID=VALUE" texts; values are YAML."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SystemExit(f"error: expected --set ID=VALUE, got {pair!r}; add the value")
        values[name] = yaml.safe_load(text)
    return values


if __name__ == "__main__":
    sys.exit(main())
