"""Run the hippocampus bundle on two real MR regions, then serve them to 3D Slicer and OHIF."""

import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path

from monai.bundle import run
from serve_demo import serve

from conceptseg.demo import write_demo_studies

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "hippocampus_mr_segmentation"
COLUMNS = ("case", "label", "volume_ml", "presence", "seconds", "concepts_read_out")


def main() -> None:
    """Parse, write the studies, run the bundle twice, print the tables, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="quickstart_output", help="folder to write to")
    parser.add_argument("--prompt", default="posterior hippocampus", help="concept prompt")
    parser.add_argument("--no-serve", action="store_true", help="end after the tables")
    parser.add_argument(
        "--serve-seconds",
        type=float,
        help="stop the server after so many seconds; default: at Ctrl+C on a terminal, and at once,"
        " after one check, where there is none or CI is set",
    )
    parser.add_argument("--port", type=int, default=8000, help="first port tried (8000)")
    parser.add_argument(
        "--ohif",
        action="store_true",
        help="serve the studies as DICOM through Orthanc, so that OHIF shows them as well",
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    output = Path(args.output)
    studies = output / "studies"
    write_demo_studies(studies)
    for title, folder, prompt in (
        ("Text-free", "text_free", None),
        (f"Concept prompt: {args.prompt!r}", "prompt", args.prompt),
    ):
        run(
            config_file=str(BUNDLE / "configs" / "inference.yaml"),
            meta_file=str(BUNDLE / "configs" / "metadata.json"),
            logging_file=False,
            bundle_root=str(BUNDLE),
            dataset_dir=str(studies),
            output_dir=str(output / folder),
            prompt=prompt,
        )
        print_table(title, json.loads((output / folder / "summary.json").read_text()))
    print(f"\nMasks (NIfTI, on each study's own grid) and overlay pictures: {output.resolve()}")
    if not args.no_serve:
        seconds = args.serve_seconds
        if seconds is None and not is_attended():
            seconds = 0.0
        serve(output, studies, BUNDLE, args.prompt, args.port, seconds, args.ohif)


def is_attended() -> bool:
    """True where a person can press Ctrl+C."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")


def print_table(title: str, rows: list[dict]) -> None:
    """Print the rows of a summary."""
    cells = [[str(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    print(f"\n{title}")
    for line in [COLUMNS, *cells]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
