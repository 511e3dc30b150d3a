"""Write a bundle's docs/README.md from docs/card.yaml and the figures kept in docs.

With --metrics, first keep an evaluation's metrics.json (and with --training the training.json)."""

import argparse
import shutil
import sys
from pathlib import Path

from conceptseg.export.model_card import README, keep_metrics, model_card, write_card


def main() -> int:
    """Parse, keep, write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument("--metrics", type=Path, help="metrics.json of configs/evaluate.yaml")
    parser.add_argument("--baseline", metavar="NAME", help="keep it as metrics_NAME.json")
    parser.add_argument("--training", type=Path, help="training.json of the training run")
    parser.add_argument("--weights", type=Path, help="judged weights, default models/model.pt")
    parser.add_argument("--check", action="store_true", help="fail when the README is out of date")
    args = parser.parse_args()
    try:
        if args.metrics and args.baseline:
            keep_metrics(args.bundle, args.metrics, f"metrics_{args.baseline}.json")
        elif args.metrics:
            weights = args.weights or args.bundle / "models" / "model.pt"
            keep_metrics(args.bundle, args.metrics, "metrics.json", weights)
        if args.training:
            shutil.copyfile(args.training, args.bundle / "docs" / "training.json")
        if args.check:
            is_current = (args.bundle / README).read_text(encoding="utf-8") == model_card(
                args.bundle
            )
            print("up to date" if is_current else f"{README} is out of date: run without --check")
            return 0 if is_current else 1
        print(f"wrote {write_card(args.bundle)}")
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
