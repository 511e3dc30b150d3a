"""One network for all three data sets against one for each, same recipe, as many images altogether."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conceptseg.benchmark import start_script

REPOSITORY = Path(__file__).resolve().parents[1]
MATRICES = REPOSITORY / "docs" / "benchmarks"


def parse_arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="holds kvasir/, fuseg/ and hippocampus/")
    parser.add_argument("output_dir", type=Path, help="merged pictures, records, generalist.md")
    parser.add_argument("--seeds", nargs="+", type=int, default=None)
    parser.add_argument("--set", nargs="+", dest="data_sets", help="only these, or all")
    parser.add_argument("--report", action="store_true", help="only write generalist.md")
    return parser.parse_args()


def main() -> int:
    """Merge the sets, train what is missing, compare; 1 when a run failed."""
    args = parse_arguments()
    start_script()
    from conceptseg.atomic import write_text_atomic
    from conceptseg.benchmark.analyses import analyse
    from conceptseg.benchmark.execution import Places
    from conceptseg.benchmark.matrix import read_matrix
    from conceptseg.benchmark.merged import ALL, absent_table, compare_by_label, merge_sets
    from conceptseg.benchmark.records import RunStore
    from conceptseg.benchmark.scheduler import run_missing
    from conceptseg.benchmark.tables import markdown

    own_form = read_matrix(MATRICES / "cpu.yaml").data_sets
    matrix = read_matrix(MATRICES / "generalist.yaml")
    labels = {name: len(d.settings["keywords"]) for name, d in matrix.data_sets.items()}
    bundles, merged = REPOSITORY / "bundles", args.output_dir / "merged"
    places = Places(merged, bundles, args.output_dir)
    failed = False
    if not args.report:
        names = [name for name in matrix.data_sets if name != ALL]
        sets = [own_form[name] for name in names]
        merge_sets(args.data_dir, merged, bundles, sets, [labels[name] for name in names])
        chosen = matrix.narrowed(data_sets=args.data_sets, seeds=args.seeds)
        failed = any(r["status"] == "failed" for r in run_missing(chosen, places))
        if ALL in chosen.data_sets:
            analyse(chosen.narrowed(data_sets=[ALL]), places, names=["absence"])
    store = RunStore(args.output_dir)
    tables = [compare_by_label(store, "ours"), absent_table(store, "ours")]
    text = "\n".join(markdown(*table) for table in tables)
    write_text_atomic(args.output_dir / "generalist.md", text)
    print(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
