"""Turn a public data set, as downloaded, into images, masks, a datalist, concepts and a report."""

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from conceptseg.atomic import write_text_atomic
from conceptseg.datasets import card_names, load_card
from conceptseg.datasets.oddities import summarise
from conceptseg.datasets.table import cards_page, describe_card, train_command


def main() -> int:
    """Parse, prepare, say what was written and what is odd."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Cards: {', '.join(card_names())}. docs/datasets.md describes them.",
    )
    parser.add_argument("name", nargs="?", help="data set card, or the path of a card of your own")
    parser.add_argument(
        "source", nargs="?", help="folder, archive, or folder of the archives; only read"
    )
    parser.add_argument("out", nargs="?", help="folder to write to; a killed run goes on there")
    parser.add_argument("--split", help="public split files: folder with train, val and test lists")
    parser.add_argument(
        "--seed", type=int, default=0, help="of sections that are drawn (default 0)"
    )
    parser.add_argument("--describe", metavar="NAME", help="print a card and exit")
    parser.add_argument("--table", metavar="FILE", help="write the page of all cards and exit")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return _run(args, parser)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Do what was asked for."""
    if args.table:
        write_text_atomic(args.table, cards_page())
        print(f"{len(card_names())} cards written to {args.table}")
        return 0
    if args.describe:
        print(describe_card(load_card(args.describe)))
        return 0
    if args.out is None:
        parser.error("expected NAME SOURCE OUT")
    # here, because they import MONAI, which takes seconds that a look at a card need not wait for
    from conceptseg.datasets.prepare import prepare_dataset
    from conceptseg.datasets.sections import read_split_files

    card = load_card(args.name)
    split = read_split_files(args.split) if args.split else None
    done = prepare_dataset(card, args.source, args.out, split, args.seed, _progress)
    counts = ", ".join(f"{count} {name}" for name, count in done.report["counts"].items())
    labels = ", ".join(f"{k} in {n}" for k, n in done.report["cases_with_label"].items())
    print(f"{card.title}: {counts}; {labels}.")
    for line in summarise(done.oddities):
        print(f"  odd: {line}")
    print(f"Written to {args.out}: dataset.json, concepts.jsonl, report.json, images/, masks/.")
    print(f"Train: {train_command(card, args.name, Path(args.out))}")
    return 0


def _progress(items: Iterable, what: str) -> Iterable:
    """A bar with the time left."""
    return tqdm(items, desc=what, unit="file" if what.startswith("unpacking") else "case")


if __name__ == "__main__":
    sys.exit(main())
