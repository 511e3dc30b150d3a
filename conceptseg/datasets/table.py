"""The cards as pages for people: one card, and the table of all."""

from __future__ import annotations

from pathlib import Path

from .card import DatasetCard, card_names, load_card

_INTRO = """# Data sets

The thirteen data sets of the paper, each with a card in `conceptseg/datasets/cards/`. This page is written from
the cards: `python scripts/prepare_dataset.py --table docs/datasets.md`. No data set comes with this project.

```
python scripts/prepare_dataset.py NAME SOURCE OUT     # SOURCE: the folder or archive as downloaded; only read
python -m monai.bundle run --config_file BUNDLE/configs/train.yaml --bundle_root BUNDLE --dataset_card NAME --dataset_dir OUT
python -m monai.bundle run --config_file "['BUNDLE/configs/train.yaml','BUNDLE/configs/evaluate.yaml']" --bundle_root BUNDLE --dataset_card NAME --dataset_dir OUT
python -m monai.bundle run --config_file "['BUNDLE/configs/inference.yaml','BUNDLE/configs/dataset_card.yaml']" --bundle_root BUNDLE --dataset_card NAME --dataset_dir IMAGES --output_dir MASKS
```

`OUT` holds `images/`, `masks/`, `dataset.json` (a datalist with training, validation and testing),
`concepts.jsonl` (a concept file: a line per case and label, measured on the mask) and `report.json` (counts, what is
odd, what was left out and why). A killed run goes on where it stopped. `--split FOLDER` takes public split files (medvlsm's
`anns` folders, CSV with a column `img_name`, text) in place of the card's split. With a card the weights go to
`BUNDLE/models/NAME/model.pt`, so that those of the bundle stay. A copy of a card with other keywords or
patterns works by its path, in all of these commands.

All layouts were built from public descriptions of the sets, and tested in miniature; none of the full downloads was
at hand. What could not be verified says so in the card's notes.
"""


def cards_page() -> str:
    """The page of all cards, Markdown."""
    cards = [load_card(name) for name in card_names()]
    head = "| NAME | Data set | Modality | Labels | Cases (training, validation, testing) | Licence | Tested |\n"
    rows = [_row(card) for card in cards]
    sections = [_section(card) for card in cards]
    return "\n".join([_INTRO, head + "|---|---|---|---|---|---|---|", *rows, "", *sections])


def _row(card: DatasetCard) -> str:
    """A card's line of the table."""
    cells = (
        f"[`{card.name}`](#{_anchor(card)})",
        card.title,
        card.modality,
        ", ".join(card.keywords),
        _counts(card),
        card.licence.strip(),
        "; ".join(card.tested),
    )
    return f"| {' | '.join(cells)} |"


def _counts(card: DatasetCard) -> str:
    """Expected numbers in words."""
    if "cases" not in card.counts:
        return "unverified"
    parts = [str(card.counts[s]) for s in ("training", "validation", "testing") if s in card.counts]
    return f"{card.counts['cases']}" + (f" ({', '.join(parts)})" if parts else "")


def _anchor(card: DatasetCard) -> str:
    """Anchor of a card's heading on the page."""
    kept = (c for c in card.title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _section(card: DatasetCard) -> str:
    """A card's section of the page."""
    lines = [f"## {card.title}", "", card.layout.strip(), ""]
    lines += [f"- Archives: {', '.join(card.archives)}", f"- Split: {card.split.text.strip()}"]
    if card.split.public_files:
        lines.append(f"- Public split files: {card.split.public_files}")
    lines.append(f"- Bundle: `{card.bundle}`, {'colour' if card.color else 'grey'} {card.form}s")
    lines += [f"- {note}" for note in card.notes]
    lines += [f"- Obtain: {card.obtain}", f"- Cite: {card.citation.strip()}", ""]
    return "\n".join(lines)


def describe_card(card: DatasetCard) -> str:
    """One card for the screen."""
    return f"{card.name}: {', '.join(card.keywords)}\n\n{_section(card)}"


def train_command(card: DatasetCard, name: str, out: Path) -> str:
    """The command that trains on a prepared data set."""
    bundle = f"bundles/{card.bundle}"
    return (
        f"python -m monai.bundle run --config_file {bundle}/configs/train.yaml"
        f" --bundle_root {bundle} --dataset_card {name} --dataset_dir {out}"
    )
