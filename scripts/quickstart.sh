#!/usr/bin/env bash
# From a fresh clone to masks of real MR and a running server: set up, run the hippocampus bundle (weights
# included), start the MONAI Label app on the same studies and say what to click (--no-serve leaves it out).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$here/scripts/setup.sh"
exec "$here/.venv/bin/python" "$here/scripts/quickstart.py" --output "$here/quickstart_output" "$@"
