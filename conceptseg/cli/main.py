"""`conceptseg COMMAND`: one entry for people who know neither bundles nor configs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "predict": "segment files, folders, DICOM series or glob patterns with a bundle",
    "doctor": "check versions, GPU, a bundle and a DICOMweb server, with the cure for each fault",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run; the command's exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="conceptseg",
        description="Concept-prompted segmentation. Research and annotation support; not for clinical use.",
        epilog="; ".join(f"{name}: {text}" for name, text in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args(argv[:1]).command
    module = importlib.import_module(f".{command}", __package__)  # the other's imports are heavy
    own = argparse.ArgumentParser(prog=f"conceptseg {command}", description=COMMANDS[command])
    module.add_arguments(own)
    return module.main(own.parse_args(argv[1:]))
