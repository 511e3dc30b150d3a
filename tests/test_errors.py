"""Errors at the command line."""

import subprocess
import sys

from conceptseg.errors import root_cause


def test_root_cause_is_the_first_of_a_chain():
    first = ValueError("first")
    second, third = RuntimeError("second"), RuntimeError("third")
    second.__cause__, third.__cause__ = first, second
    assert root_cause(third) is first
    assert root_cause(first) is first


def test_failing_process_ends_with_the_cause_and_keeps_its_exit_code():
    code = (
        "from conceptseg.errors import explain_errors; explain_errors()\n"
        "try:\n    raise ValueError('expected 1, got 2; do 3')\n"
        "except ValueError as error:\n    raise RuntimeError('somewhere') from error\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == "Error: expected 1, got 2; do 3"
    assert "Traceback" in result.stderr
