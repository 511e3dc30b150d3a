"""Check an exported bundle as the MONAI Model Zoo's CI does, and print the verdict.

Exit code 0: none failed (some may be skipped), 1: some failed, 2: no bundle there."""

import argparse
import sys
from pathlib import Path

from conceptseg.export.checksums import SUMS_FILE
from conceptseg.export.zoo_checks import check_bundle

MARKS = {True: "passed", False: "FAILED", None: "skipped"}


def main() -> int:
    """Parse, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of an exported bundle")
    parser.add_argument("--schema", type=Path, help="local copy of the metadata schema (JSON)")
    args = parser.parse_args()
    try:
        checks = check_bundle(args.bundle, args.schema)
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for check in checks:
        print(f"{MARKS[check.passed]:8} {check.name:22} {check.detail}")
    counts = {mark: [c.passed for c in checks].count(key) for key, mark in MARKS.items()}
    skipped = ", ".join(check.name for check in checks if check.passed is None)
    verdict = "not accepted" if counts["FAILED"] else "ready for the zoo"
    verdict += f" as far as checked (not checked: {skipped})" if skipped else ""
    print(f"\n{args.bundle.name}: {verdict}; {', '.join(f'{n} {m}' for m, n in counts.items())}")
    if not (args.bundle / SUMS_FILE).is_file():
        print("It was not exported yet: python scripts/export_bundle.py BUNDLE OUT --zip")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
