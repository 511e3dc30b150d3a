"""docs/README.md of a bundle, made of prose (docs/card.yaml) and measured figures (JSON in docs).

Prose names figures by place: {config[max_epochs]} of train.yaml, {split[testing]} cases of
docs/split.json, {training[hours]} of docs/training.json. No figure is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..atomic import write_text_atomic
from ..datasets import without_card
from ..report import error_detection_sentence
from .card_commands import commands
from .card_prompts import method, vocabulary
from .checksums import file_sha256
from .renaming import load_config

CARD = "docs/card.yaml"
README = "docs/README.md"
_CONDITIONS = {
    "text_free": "text-free",
    "text_guided_oracle": "oracle prompt (concepts of the reference mask; analysis only)",
    "no_condition": "without any condition",
}
_METRICS = {
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "hd95_px": "HD95 (px)",
    "relative_volume_error": "Relative volume error",
}


def keep_metrics(bundle: Path, metrics: Path, name: str, weights: Path | None = None) -> Path:
    """Keep an evaluation's metrics.json in the bundle's docs, with the SHA-256 of what it judged.

    Args:
        bundle: folder.
        metrics: what configs/evaluate.yaml wrote.
        name: file name in docs, such as "metrics.json" or "metrics_segresnet.json".
        weights: the weights judged; None: a baseline, whose weights are not kept.
    """
    conditions = json.loads(metrics.read_text(encoding="utf-8"))
    digest = file_sha256(weights) if weights is not None else None
    content = {"weights_sha256": digest, "conditions": conditions}
    target = bundle / "docs" / name
    write_text_atomic(target, json.dumps(content, indent=1) + "\n")
    return target


def write_card(bundle: Path) -> Path:
    """Write docs/README.md; see `model_card`."""
    write_text_atomic(bundle / README, model_card(bundle))
    return bundle / README


def model_card(bundle: Path) -> str:
    """The README's text.

    Raises:
        FileNotFoundError: no docs/card.yaml.
        ValueError: the card names a figure that is not kept, or metrics.json judged other weights
            than models/model.pt.
    """
    if not (bundle / CARD).is_file():
        raise FileNotFoundError(f"Expected the prose in '{bundle / CARD}', got none. Write it.")
    card = load_config(bundle / CARD)
    metadata = load_config(bundle / "configs" / "metadata.json")
    names = _figures(bundle)
    inference = load_config(bundle / "configs" / "inference.yaml")
    sections = {
        "Overview": [card["overview"], method(inference)],
        "Intended use and limits": [metadata["intended_use"], *card["limits"]],
        "Data": card["data"],
        "Training configuration": [
            card["training"],
            _cost(bundle, card.get("recorded", "Training")),
        ],
        "Input": card["input"],
        "Output": card["output"],
        "Prompt vocabulary": vocabulary(names["config"]),
        "Performance": [card.get("performance_note", ""), *_performance(bundle, card)],
        "Bundle Commands": commands(bundle, names["config"], metadata),
        "References": [f"[{i}] {text}" for i, text in enumerate(metadata["references"], start=1)],
        "License": card["license"],
    }
    parts = [f"# {card['title']}"]
    for title, content in sections.items():
        lines = [content] if isinstance(content, str) else content
        prose = title not in ("Performance", "Prompt vocabulary", "References", "Bundle Commands")
        text = "\n\n".join(line.strip() for line in lines if line and line.strip())
        parts.append(f"## {title}\n\n{_filled(text, names) if prose else text}")
    return "\n\n".join(parts) + "\n"


def _figures(bundle: Path) -> dict[str, Any]:
    """What prose may name."""
    split_file, record = bundle / "docs" / "split.json", bundle / "docs" / "training.json"
    split = load_config(split_file) if split_file.is_file() else {}
    counts = {k: len(v) for k, v in split.items() if isinstance(v, list)}
    return {
        "config": without_card(load_config(bundle / "configs" / "train.yaml")),
        "split": {**counts, "total": sum(counts.values())},
        "training": load_config(record) if record.is_file() else {},
    }


def _filled(text: str, names: Mapping[str, Any]) -> str:
    """Prose with its figures."""
    try:
        return text.format_map(names)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"Expected figures of train.yaml, split.json or training.json in the card, got {error},"
            " which is not kept. Keep the file in docs, or leave the figure out."
        ) from error


def _cost(bundle: Path, training: str) -> str:
    """Time, energy and carbon of `training`, where they were recorded."""
    file = bundle / "docs" / "training.json"
    if not file.is_file():
        return "Time and energy of the training run were not recorded."
    found = load_config(file)
    threads = f"{found['threads']} thread" + ("s" if found["threads"] != 1 else "")
    return (
        f"{training} took {found['hours']} hours on {found['processes']} x {found['device']}"
        f" ({threads}), {found['epochs']} epochs, {found['images_seen']} images"
        f" seen; estimated {found['estimated_kwh']} kWh and {found['estimated_grams_co2']} g CO2 at an"
        f" assumed {found['assumed_watts']:g} W and {found['assumed_grams_per_kwh']:g} g/kWh."
    )


def _performance(bundle: Path, card: Mapping[str, Any]) -> Iterator[str]:
    """Tables of every metrics file of the card that is kept."""
    kept = []
    for entry in card["performance"]:
        file = bundle / "docs" / entry["file"]
        if file.is_file():
            kept.append((entry["network"], load_config(file)))
    if not kept:
        yield "No figures are kept with this bundle: evaluate your weights (below)."
        return
    for _, content in kept:
        _check_weights(bundle, content)
    yield _overall_table(kept)
    yield "\n".join(f"{name}: {c['source']}." for name, c in kept if c.get("source"))
    name, content = kept[0]
    for condition, summary in content["conditions"].items():
        if "labels" in summary:
            yield f"### {name}, {_CONDITIONS.get(condition, condition)}, by label"
            yield _label_table(summary["labels"])
    free = content["conditions"].get("text_free", {})
    if "error_detection" in free:
        yield f"{name}, text-free: {error_detection_sentence(free['error_detection'])}"
    concepts = free.get("by_concept") or {}
    if any(concepts.values()):
        yield f"### {name}, text-free, by what the reference is like"
        yield _concept_table(concepts)
    yield (
        "Mean ± standard deviation over cases (n). Dice is 1 where reference and mask are both empty."
        " HD95 needs both; its n says how many cases it covers."
    )


def _check_weights(bundle: Path, content: Mapping[str, Any]) -> None:
    """Refuse figures of other weights than the bundle's."""
    weights, digest = bundle / "models" / "model.pt", content.get("weights_sha256")
    if digest and weights.is_file() and file_sha256(weights) != digest:
        raise ValueError(
            f"Expected metrics of '{weights}', got those of other weights. Evaluate again and run"
            " scripts/model_card.py BUNDLE --metrics EVAL/metrics.json."
        )


def _overall_table(kept: list[tuple[str, Mapping[str, Any]]]) -> str:
    """A row per network and condition."""
    lines = [
        "| Network | Condition | Dice, mean over labels | Median | n |",
        "|---|---|---|---|---|",
    ]
    for network, content in kept:
        is_baseline = content.get("weights_sha256") is None and len(content["conditions"]) == 1
        for condition, summary in content["conditions"].items():
            stats = summary["dice_over_labels"]
            said = "-" if is_baseline else _CONDITIONS.get(condition, condition)
            median = "not kept" if stats["median"] is None else f"{stats['median']:.3f}"
            lines.append(f"| {network} | {said} | {_spread(stats)} | {median} | {stats['n']} |")
    return "\n".join(lines)


def _spread(stats: Mapping[str, Any]) -> str:
    """Mean ± standard deviation."""
    if stats.get("mean") is None:
        return "n/a"
    sd = "" if stats.get("sd") is None else f" ± {stats['sd']:.3f}"
    return f"{stats['mean']:.3f}{sd}"


def _label_table(labels: Mapping[str, Any]) -> str:
    """A row per label."""
    metrics = [m for m in _METRICS if any(m in label for label in labels.values())]
    header = ["Label", *(_METRICS[m] for m in metrics), "Found", "False alarms"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, label in labels.items():
        cells = [f"{_spread(label[m])} ({label[m]['n']})" if m in label else "n/a" for m in metrics]
        seen = label["presence"]
        present = seen["true_positive"] + seen["false_negative"]
        absent = seen["false_positive"] + seen["true_negative"]
        cells += [f"{seen['true_positive']} of {present}", f"{seen['false_positive']} of {absent}"]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _concept_table(concepts: Mapping[str, Any]) -> str:
    """A row per concept and word."""
    lines = ["| Concept | Reference | Dice | n |", "|---|---|---|---|"]
    for concept, words in concepts.items():
        for word, stats in words.items():
            lines.append(f"| {concept} | {word} | {_spread(stats)} | {stats['n']} |")
    return "\n".join(lines)
