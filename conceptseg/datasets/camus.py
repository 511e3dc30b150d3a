"""CAMUS: the split comes in files, and the older release holds test frames without masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .case import RawCase
from .oddities import Oddity
from .pairs import PairsConverter
from .source_files import SourceFile

_SECTIONS = {
    "subgroup_training.txt": "training",
    "subgroup_validation.txt": "validation",
    "subgroup_testing.txt": "testing",
}


class CamusConverter(PairsConverter):
    """Adds the official sections (patients in database_split/subgroup_*.txt), where they are there."""

    def find(self, files: Sequence[SourceFile]) -> tuple[list[RawCase], list[Oddity]]:
        """Pair the frames and give them their patient's section."""
        cases, oddities = super().find(files)
        sections = {
            patient: _SECTIONS[file.path.name.lower()]
            for file in files
            if file.path.name.lower() in _SECTIONS
            for patient in file.path.read_text(encoding="utf-8").split()
        }
        if sections:
            cases = [replace(case, section=sections.get(case.group)) for case in cases]
            unknown = sorted({case.group for case in cases} - sections.keys())
            oddities += [
                Oddity(patient, "split", "in no subgroup file; drawn like a case without section")
                for patient in unknown
            ]
        return cases, oddities
