#!/usr/bin/env bash
# Set up and run the test-suite, in as many processes as there are CPUs, four at most; arguments go to pytest
# (-n 0: in one process).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # the processes would wait for each other's threads
# in the order of the files: those with the fewest tests, last otherwise, take the longest
exec .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
