"""The report: one HTML page that compares sources of concepts with the masks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

import numpy as np

from ..atomic import write_text_atomic
from ..concepts import concepts_to_sentence
from ..concepts.schema import Concepts
from ..concepts.views import view_picture
from ..datalist_split import base_dir
from ..grid import directions_of, spacing_of
from ..overlay import png_bytes
from ..report import figure_html, page_html, table_html
from .agreement import Agreement, agreement, as_plain, descriptor_counts, entropy, measure_truth
from .store import Described, Key, load_concepts

logger = logging.getLogger(__name__)
_HEADER = [
    "Attribute", "Labels", "Answered", "Accuracy", "Always the commonest", "Accuracy off the commonest",
    "Kappa", "Entropy (bits)", "Entropy of the truth",
]  # fmt: skip
_NOTE = (
    "Truth is measured on the masks. Accuracy, the commonest answer and kappa are of the labels for "
    "which the source gave a readable answer. A source that knows no more than the commonest answer has "
    "kappa 0. Size is a share of the image (below 1, 5, 15 % tiny, small, medium), a scale of ours: a "
    "model may use another. Colour is the nearest of eleven names to the mean colour."
)


def report_agreement(
    path: str | os.PathLike,
    sources: Mapping[str, str | os.PathLike],
    dataset,
    dataset_dir: str | os.PathLike,
    keywords: Sequence[str],
    examples: int = 8,
) -> dict[str, dict[str, Agreement]]:
    """Compare concept files with the masks; writes the page, and the figures as JSON beside it.

    Args:
        path: HTML file; complete or absent.
        sources: name -> concept file.
        dataset: gives "image" and "label" of a case; its data hold the "image" path.
        dataset_dir: that the concept files' cases are relative to.
        keywords: one per label value 1..K.
        examples: pictures per source, half of them where it agrees least.

    Returns:
        source -> attribute -> figures.

    Raises:
        FileNotFoundError, ValueError: a source that is no concept file, or of other cases.
    """
    said = {name: load_concepts(file) for name, file in sources.items()}
    root = base_dir(Path(dataset_dir))
    names = [Path(os.path.relpath(c["image"], root)).as_posix() for c in dataset.data]
    truth = measure_truth(dataset, names, keywords)
    figures = {name: agreement(found, truth) for name, found in said.items()}
    body = f'<p class="note">{escape(_NOTE)}</p>'
    for name, found in said.items():
        body += f"<h2>{escape(name)}: {sum(key in truth for key in found)} labels</h2>\n"
        body += _figures_table(figures[name])
        body += _words_table(found)
        body += _examples(found, truth, dataset, names, keywords, examples)
    write_text_atomic(path, page_html("Concepts against the masks", body))
    plain = {name: as_plain(value) for name, value in figures.items()}
    write_text_atomic(Path(path).with_suffix(".json"), json.dumps(plain, indent=1) + "\n")
    for name, value in figures.items():
        logger.info("%s\n%s", name, figures_text(value))
    logger.info("report written to '%s'.", path)
    return figures


def figures_text(figures: Mapping[str, Agreement]) -> str:
    """The figures as lines of text."""
    return "\n".join(
        f"  {name}: " + ", ".join(f"{key} {_cell(value)}" for key, value in asdict(row).items())
        for name, row in figures.items()
    )


def _cell(value: float | int | None) -> str:
    """A figure."""
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _figures_table(figures: Mapping[str, Agreement]) -> str:
    """Table of the figures, a row per attribute."""
    rows = [[name, *map(_cell, asdict(row).values())] for name, row in figures.items()]
    return table_html(_HEADER, rows)


def _words_table(said: Mapping[Key, Described]) -> str:
    """Table of what is said how often, and its entropy."""
    rows = [
        [
            name,
            ", ".join(f"{value} {n}" for value, n in counts.most_common(12)),
            f"{entropy(counts):.2f}",
        ]
        for name, counts in descriptor_counts(said).items()
    ]
    return table_html(["Said of", "Value and number of labels", "Entropy (bits)"], rows)


def _examples(
    said: Mapping[Key, Described],
    truth: Mapping[Key, Concepts],
    dataset,
    names: Sequence[str],
    keywords: Sequence[str],
    count: int,
) -> str:
    """Pictures of the labels on which a source is least and most right."""
    keys = sorted((k for k in truth if k in said), key=lambda k: (_right(said[k], truth[k]), k))
    chosen = keys[: count // 2] + keys[len(keys) - (count - count // 2) :]
    html = ""
    for case, keyword in dict.fromkeys(chosen):
        data = dataset[names.index(case)]
        mask = np.asarray(data["label"])[0] == keywords.index(keyword) + 1
        axes, spacing = directions_of(data["image"]), spacing_of(data["image"])
        picture = view_picture(np.asarray(data["image"]), mask, axes, "outline", spacing)
        found = said[case, keyword].description
        says = concepts_to_sentence(found.concepts(), descriptors=found.descriptors())
        caption = f"{case}. Mask: {concepts_to_sentence(truth[case, keyword])}. Said: {says}."
        html += figure_html(png_bytes(picture), caption)
    return f"<h3>Least and most right</h3>\n{html}\n"


def _right(said: Described, truth: Concepts) -> float:
    """Share of the measured attributes that are said and right."""
    concepts = said.description.concepts()
    known = [n for n in ("number", "location", "size", "shape") if getattr(truth, n) is not None]
    return sum(getattr(concepts, n) == getattr(truth, n) for n in known) / max(1, len(known))
