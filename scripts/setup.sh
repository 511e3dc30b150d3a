#!/usr/bin/env bash
# Make .venv and install requirements.txt, once: a second call sees that nothing has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'; then
    echo "expected Python 3.11 or 3.12 as $python, got $("$python" --version 2>&1); set PYTHON" >&2
    exit 1
fi
stamp=.venv/installed_requirements
wanted="$(cat requirements.txt pyproject.toml)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
echo "Installing the requirements into .venv (about 8 GB with PyTorch; this happens once)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
printf '%s\n' "$wanted" >"$stamp"
