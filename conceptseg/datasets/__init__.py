"""Data set cards, and the way from a public data set as downloaded to one that can be trained on."""

from .card import DatasetCard, card_names, load_card
from .training import card_folder, card_keywords, card_value, without_card

__all__ = [
    "DatasetCard",
    "card_folder",
    "card_keywords",
    "card_names",
    "card_value",
    "load_card",
    "without_card",
]
