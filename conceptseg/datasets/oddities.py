"""Remarks on a data set: what is unlike the card, case by case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

KINDS = {
    "count": "numbers other than the card's",
    "empty_mask": "masks without object",
    "duplicate_image": "images with the same pixels as another",
    "same_name": "files that claim the same case",
    "unpaired_image": "images without mask, left out",
    "unpaired_mask": "masks without image, left out",
    "size_mismatch": "masks of another size than their image, left out",
    "position_mismatch": "masks with another position in space than their image; the image's was taken",
    "unknown_values": "masks with values the card does not know",
    "unreadable": "files that cannot be read, left out",
    "repaired": "damaged annotations of which the whole parts were taken",
    "split": "cases or names that the split files do not match",
    "not_used": "parts of the official data that the card leaves out",
}


@dataclass(frozen=True)
class Oddity:
    """One remark.

    Attributes:
        case: name of the case or file, "" for the whole set.
        kind: a key of `KINDS`.
        text: what is odd and what was done.
    """

    case: str
    kind: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"case": self.case, "kind": self.kind, "text": self.text}


def summarise(oddities: Iterable[Oddity], shown: int = 3) -> list[str]:
    """One line for each kind of oddity: how many, what it means, the first few."""
    oddities = list(oddities)
    lines = []
    for kind, count in Counter(oddity.kind for oddity in oddities).most_common():
        first = [o for o in oddities if o.kind == kind][:shown]
        named = "; ".join(f"{o.case}: {o.text}" if o.case else o.text for o in first)
        more = f"; and {count - len(first)} more" if count > len(first) else ""
        lines.append(f"{count} {KINDS[kind]} ({named}{more})")
    return lines
