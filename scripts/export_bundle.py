"""Write a self-contained copy of a bundle: own code in scripts/, weights with SHA-256, licences."""

import argparse
import sys
from pathlib import Path

from conceptseg.export.bundle_export import export_bundle


def main() -> int:
    """Parse, export, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder, such as bundles/NAME")
    parser.add_argument("out", type=Path, help="folder to write OUT/NAME to")
    parser.add_argument("--zip", action="store_true", help="also write OUT/NAME_vVERSION.zip")
    parser.add_argument("--weights", type=Path, help="weights file, default BUNDLE/models/model.pt")
    parser.add_argument(
        "--weights_url", help="keep weights out; large_files.yml names this address"
    )
    parser.add_argument("--without_weights", action="store_true", help="share the recipe alone")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    args = parser.parse_args()
    try:
        result = export_bundle(
            args.bundle,
            args.out,
            args.weights,
            args.weights_url,
            args.without_weights,
            args.zip,
            args.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"bundle   {result.folder} ({result.files} Python files in scripts/)")
    print(f"weights  {result.weights}, SHA-256 {result.weights_sha256}")
    if result.archive:
        print(f"archive  {result.archive} ({result.archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
