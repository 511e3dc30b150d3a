"""Errors at the command line: after MONAI's traceback, the sentence that says what to do."""

from __future__ import annotations

import sys
from types import TracebackType


def root_cause(error: BaseException) -> BaseException:
    """The error that others were raised from.

    MONAI wraps an error of a transform or a config item in several that only say where it happened.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def explain_errors() -> None:
    """End the output of a failing process with the message of the error's root cause.

    Called first by the bundles' configs; the traceback and the exit code stay as they are.
    """
    previous = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        """Traceback first, then the cause in one sentence."""
        previous(kind, error, traceback)
        print(f"\nError: {root_cause(error)}", file=sys.stderr)

    sys.excepthook = hook
