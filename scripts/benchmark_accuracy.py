"""Compare segmentation networks on equal terms: run what is missing, report, tune, time, analyse."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conceptseg.benchmark import start_script

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("matrix", help="YAML file, such as docs/benchmarks/cpu.yaml")
    parser.add_argument(
        "--data_dir", required=True, help="folder that holds kvasir/, fuseg/, hippocampus/"
    )
    parser.add_argument("--output_dir", default="benchmark_output", help="records and report")
    parser.add_argument("--bundles", default=REPOSITORY / "bundles", help="folder of the bundles")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="show every run and its state, run nothing"
    )
    what.add_argument("--report", action="store_true", help="write report.html and report.md")
    what.add_argument("--speed", action="store_true", help="time inference on the CPU, interleaved")
    what.add_argument("--analyse", action="store_true", help="prompt analyses of the recorded runs")
    what.add_argument("--tune", action="store_true", help="choose the learning rates")
    narrow = parser.add_argument_group("part of the matrix")
    narrow.add_argument("--only", nargs="+", metavar="CONTESTANT")
    narrow.add_argument("--set", nargs="+", metavar="DATA_SET", dest="data_sets")
    narrow.add_argument("--fractions", nargs="+", type=float, help="of the training cases, 0 to 1")
    narrow.add_argument("--seeds", nargs="+", type=int)
    narrow.add_argument("--budgets", nargs="+", choices=["images", "cpu_seconds"])
    narrow.add_argument("--amount", type=float, help="of the budget, in place of the matrix's")
    trial = parser.add_argument_group("trial of another recipe, recorded as CONTESTANT@NAME")
    trial.add_argument("--name", help="default: the overrides")
    trial.add_argument(
        "--override",
        nargs="+",
        default=[],
        metavar="ID=VALUE",
        help="config ids of train.yaml; for --only, or ours",
    )
    parser.add_argument(
        "--repeat",
        nargs="+",
        default=[],
        choices=["failed", "stale"],
        help="repeat such runs; their records move to superseded/",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    return parser.parse_args()


def main() -> int:
    """Do what was asked; 1 when a run failed."""
    args = parse_arguments()
    start_script()
    from conceptseg.benchmark.command import run_command

    return run_command(args)


if __name__ == "__main__":
    sys.exit(main())
