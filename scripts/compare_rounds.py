"""Put simulated rounds on several data sets side by side, and say what they show together.

python scripts/compare_rounds.py OUTPUT [OUTPUT ...]
prints a Markdown table from the records that scripts/active_learning.py wrote.
"""

import argparse
import sys
from pathlib import Path

from conceptseg.active_learning.rounds_table import rounds_table


def main() -> int:
    """Parse and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outputs", type=Path, nargs="+", help="folders with a rounds.jsonl")
    args = parser.parse_args()
    try:
        print(rounds_table(args.outputs), end="")
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
