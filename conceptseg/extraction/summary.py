"""What a concept file holds, in counts."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from .records import ConceptLine, CorrectionLine, FailureLine
from .store import Key, read_lines


def summarize(path: str | os.PathLike) -> dict[str, Any]:
    """Counts of a concept file.

    Returns:
        "described", "failed", "corrected" (labels), "values" (attribute -> value -> labels), "failures"
        (case, keyword and reason of each label whose last attempt failed).
    """
    described_keys: dict[Key, dict[str, str]] = {}
    failures: dict[Key, str] = {}
    corrected: set[Key] = set()
    for line in read_lines(path):
        key = (line.case, line.keyword)
        if isinstance(line, ConceptLine):
            described_keys[key] = {k: str(v.value) for k, v in line.description.values.items()}
            failures.pop(key, None)
        elif isinstance(line, FailureLine):
            failures[key] = line.reason
        elif isinstance(line, CorrectionLine):
            corrected.add(key)
    values: dict[str, Counter] = {}
    for said in described_keys.values():
        for name, value in said.items():
            values.setdefault(name, Counter())[value] += 1
    return {
        "described": len(described_keys),
        "failed": len(failures),
        "corrected": len(corrected),
        "values": {name: dict(counts.most_common()) for name, counts in values.items()},
        "failures": [{"case": c, "keyword": k, "reason": r} for (c, k), r in failures.items()],
    }


def summary_text(summary: dict[str, Any], limit: int = 20) -> str:
    """The summary in lines: counts, values, failures by case."""
    lines = [
        f"{summary['described']} labels described, {summary['failed']} failed,"
        f" {summary['corrected']} corrected by a person"
    ]
    for name, counts in summary["values"].items():
        lines.append(f"  {name}: " + ", ".join(f"{n} {value}" for value, n in counts.items()))
    for failure in summary["failures"][:limit]:
        lines.append(f"  failed: {failure['case']}, {failure['keyword']}: {failure['reason']}")
    if len(summary["failures"]) > limit:
        lines.append(f"  ... and {len(summary['failures']) - limit} more in the summary file")
    if summary["failed"]:
        lines.append("  run the same command again to try the failed ones once more")
    return "\n".join(lines)
