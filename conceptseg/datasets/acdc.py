"""ACDC: Info.cfg says which two frames of each patient carry labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .case import RawCase
from .oddities import Oddity
from .pairs import PairsConverter
from .source_files import SourceFile


class AcdcConverter(PairsConverter):
    """Pairs the labelled frames and compares them with each patient's Info.cfg."""

    def find(self, files: Sequence[SourceFile]) -> tuple[list[RawCase], list[Oddity]]:
        """Pair frames; a frame that Info.cfg does not name, or that is missing, is remarked."""
        cases, oddities = super().find(files)
        for file in files:
            if file.path.name.lower() == "info.cfg":
                patient = file.path.parent.name
                expected = _labelled_frames(file.path.read_text(encoding="utf-8"), patient)
                found = {case.name for case in cases if case.group == patient}
                for name in sorted(expected ^ found):
                    what = "named in Info.cfg, not found" if name in expected else "not in Info.cfg"
                    oddities.append(Oddity(name, "count", f"labelled frame {what}"))
        return cases, oddities


def _labelled_frames(text: str, patient: str) -> set[str]:
    """Case names of the end-diastolic and end-systolic frame."""
    frames = re.findall(r"^\s*E[DS]\s*:\s*(\d+)", text, re.MULTILINE)
    return {f"{patient}_frame{int(frame):02d}" for frame in frames}
