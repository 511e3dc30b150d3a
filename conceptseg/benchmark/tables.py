"""The benchmark's tables as rows of text, for Markdown and HTML alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .comparison import Entry, Group, Interval, compare_scores, prompt_worth
from .conditions import NOTES, TEXT_FREE


def points(value: float, sign: bool = False) -> str:
    """Dice as a number with three decimals; "n/a" when undefined."""
    return "n/a" if math.isnan(value) else f"{value:+.3f}" if sign else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """Mean and the range over seeds."""
    if not values:
        return "n/a"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return points(mean)
    return f"{points(mean)} ({min(values):.3f} to {max(values):.3f})"


def interval(value: Interval | None) -> str:
    """Difference with its interval."""
    return "" if value is None else f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def contestant_table(group: Group, speed: dict | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and one row per contestant, best first.

    Args:
        group: of comparable entries.
        speed: contestant -> times of MONAI's small UNet, of this data set; None leaves the column out.
    """
    best = group.best_baseline()
    header = ["Contestant", "Condition", "Dice, mean (range over seeds)", "Seeds", "IoU", "HD95"]
    header += ["Difference [95 %]", "Parameters", "Images seen", "Training CPU s"]
    header += ["Inference / UNet"] if speed else []
    rows = []
    for entry in sorted(group.entries.values(), key=lambda e: -e.mean()):
        metric = "hd95_mm" if "hd95_mm" in entry.scores else "hd95_px"
        row = [
            entry.title,
            entry.condition.replace("_", " "),
            spread(entry.seed_means()),
            str(len(entry.seeds)),
            points(entry.mean("iou")),
            f"{entry.mean(metric):.2f} {metric[-2:]}",
            _compared(group, entry, best),
            f"{entry.averaged('parameters') / 1e6:.2f} M",
            f"{entry.averaged('images_seen'):,.0f}",
            f"{entry.averaged('train_seconds'):.0f}",
        ]
        if speed:
            ratio = speed.get(entry.name)
            row.append("" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    return header, rows


def _compared(group: Group, entry: Entry, best: Entry | None) -> str:
    """Difference to what the entry is compared with, named where that is not the best baseline."""
    if entry is best:
        return "best baseline"
    other = group.reference(entry)
    if other is None:
        return ""
    return interval(group.compare(entry, other)) + ("" if other is best else f" to {other.title}")


def condition_table(entry: Entry) -> tuple[list[str], list[list[str]]]:
    """Header and one row per condition of one contestant, and what prompts are worth."""
    header = [
        "Condition",
        "What it is told",
        "Dice, mean (range over seeds)",
        "Against text-free [95 %]",
    ]
    by_condition = entry.scores["dice"]
    rows = [
        [
            name.replace("_", " "),
            NOTES[name],
            spread(entry.seed_means(condition=name)),
            ""
            if name == TEXT_FREE or TEXT_FREE not in by_condition
            else interval(compare_scores(by_condition[name], by_condition[TEXT_FREE])),
        ]
        for name in by_condition
    ]
    worth = prompt_worth(entry)
    if worth:
        gained = compare_scores(by_condition["text_guided_oracle"], by_condition["no_condition"])
        text = f"oracle over no condition {interval(gained)}"
        shares = ", ".join(
            f"{name} earns {worth[key]:.0%} of it"
            for name, key in (
                ("text-free", "text_free_share"),
                ("keyword and place", "location_share"),
            )
            if not math.isnan(worth[key])
        )
        rows.append(["worth of prompts", text, shares, ""])
    return header, rows


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
