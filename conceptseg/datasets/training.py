"""What the bundles' configs take from a data set card; without a card, their own values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .card import load_card


def card_keywords(
    card: str | None, default: Sequence[str], form: Literal["picture", "volume"]
) -> list[str]:
    """Keywords of the card, or `default` without a card.

    Args:
        card: card name or path, or None.
        default: the bundle's own keywords.
        form: what the bundle is made for.

    Raises:
        ValueError: no such card, or the data set is of the other form.
    """
    if not card:
        return list(default)
    chosen = load_card(card)
    if chosen.form != form:
        raise ValueError(
            f"Expected a data set of {form}s for this bundle, got the card '{card}' of"
            f" {chosen.form}s. Use bundles/{chosen.bundle}."
        )
    return list(chosen.keywords)


def card_value(card: str | None, name: str, default: Any) -> Any:
    """The card's training value of this name, its "color" or "title"; `default` where it has none."""
    if not card:
        return default
    chosen = load_card(card)
    known = {"color": chosen.color, "title": chosen.title} | chosen.training
    return known.get(name, default)


def without_card(config: Any) -> Any:
    """A config as it is without a card: every look-up in this module replaced by its own value.

    For readers of config files who do not instantiate them, such as a page that quotes settings.
    """
    if isinstance(config, list):
        return [without_card(value) for value in config]
    if not isinstance(config, dict):
        return config
    target = str(config.get("_target_", "")).rpartition(".")[2]
    if target in ("card_keywords", "card_value"):
        return config["default"]
    if target == "card_folder":
        return config["folder"]
    return {key: without_card(value) for key, value in config.items()}


def card_folder(card: str | None, folder: str) -> str:
    """`folder` without a card, else its sub-folder named after the card.

    Weights trained on one data set so never take the place of those that a bundle comes with.
    """
    return str(Path(folder) / load_card(card).name) if card else folder
