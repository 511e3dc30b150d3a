"""Say what a received bundle's zip is and whether it is safe to use, before anything of it runs.

Exit code 0: usable, 1: refused, 2: not readable."""

import argparse
import sys
import textwrap
from pathlib import Path

from conceptseg.export.received import inspect_archive


def main() -> int:
    """Parse, inspect, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zip", type=Path, help="the received archive")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="trust this module in configs; 'scripts' trusts the code in the archive",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    try:
        result = inspect_archive(args.zip, args.allow)
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(result.to_json())
        return 0 if result.is_usable else 1
    for name, value in result.facts.items():
        said = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name:13} {textwrap.indent(str(said), ' ' * 14).strip()}")
    for kind, lines in (("note", result.notes), ("REFUSED", result.refused)):
        for line in lines:
            print(f"{kind:13} {line}")
    print(f"\n{'usable' if result.is_usable else 'refused: do not use this archive'}")
    return 0 if result.is_usable else 1


if __name__ == "__main__":
    sys.exit(main())
