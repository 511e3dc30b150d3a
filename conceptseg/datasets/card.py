"""Data set cards: what a public data set is, how it comes, and what training takes from it."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Section = Literal["training", "validation", "testing"]
CARDS = files(__package__).joinpath("cards")
SPLITS = files(__package__).joinpath("splits")


class _Part(BaseModel):
    """Base of all parts of a card: closed, so that a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LayoutPart(_Part):
    """One kind of files of the official layout.

    Attributes:
        image: regular expression, searched in the path below the source (POSIX, case ignored);
            its named groups fill `name` and `group`.
        mask: the same for the masks; several masks with one name are joined. Empty: the converter
            knows.
        name: case name, a format of the named groups.
        group: what must not be divided by a split, such as the patient; default: the case.
        section: section the layout itself gives these cases, if it does.
    """

    image: str
    mask: str = ""
    name: str = "{name}"
    group: str | None = None
    section: Section | None = None


class Encoding(_Part):
    """How the mask files say a label.

    Attributes:
        kind: "binary" (0/1, 0/255, JPEG noise), "values" (numbers) or "colors" (channels).
        above: binary only; values above it are the object; None: above half the largest value
            that 0/1 and 0/255 masks can have.
        values: values only; number in the file -> label.
        tolerance: values only; numbers this near count as well.
        colors: colors only; red, green or blue -> label.
    """

    kind: Literal["binary", "values", "colors"]
    above: float | None = None
    values: dict[int, int] = Field(default_factory=dict)
    tolerance: int = 0
    colors: dict[Literal["red", "green", "blue"], int] = Field(default_factory=dict)


class Split(_Part):
    """Which cases train, validate and test.

    Attributes:
        text: where the split comes from, in words.
        file: packaged JSON of section -> case names; the rest trains.
        validation: share of the groups drawn for validation where the layout gives none.
        testing: share of the groups drawn for testing where the layout gives none.
        public_files: folder of public split files that `--split` accepts.
    """

    text: str
    file: str | None = None
    validation: float = Field(default=0.1, ge=0, lt=1)
    testing: float = Field(default=0.1, ge=0, lt=1)
    public_files: str | None = None


class DatasetCard(_Part):
    """All that is known about a data set.

    Attributes:
        name: identifier, the card file's stem.
        title: as the data set calls itself.
        bundle: bundle whose train.yaml is the base.
        form: "picture" or "volume", as prepared.
        modality: kind of imaging.
        color: the pictures are coloured; otherwise grey, and concepts say intensity, not color.
        keywords: class keywords; label k is `keywords[k - 1]`.
        archives: files as downloaded.
        layout: official layout in words.
        converter: "pairs", or the set's own.
        parts: files of the layout.
        encoding: of the masks.
        split: of the cases.
        counts: expected numbers: cases, training, validation, testing; those not known are absent.
        training: values that replace defaults of the bundle's configs.
        licence, citation, obtain: as the publisher states them.
        notes: known oddities, decisions, and what could not be verified.
        tested: what the tests of this package did with it.
    """

    name: str
    title: str
    bundle: str
    form: Literal["picture", "volume"]
    modality: str
    color: bool
    keywords: tuple[str, ...] = Field(min_length=1)
    archives: tuple[str, ...]
    layout: str
    converter: str = "pairs"
    parts: tuple[LayoutPart, ...]
    encoding: Encoding
    split: Split
    counts: dict[str, int]
    training: dict[str, Any] = Field(default_factory=dict)
    licence: str
    citation: str
    obtain: str
    notes: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _labels_are_keywords(self) -> DatasetCard:
        """Refuse an encoding that names labels without keyword."""
        labels = {*self.encoding.values.values(), *self.encoding.colors.values()} - {0}
        if self.encoding.kind == "binary":
            labels = {1}
        wrong = labels - set(range(1, len(self.keywords) + 1))
        if wrong:
            raise ValueError(
                f"expected labels 1..{len(self.keywords)} of {list(self.keywords)}, the encoding"
                f" names {sorted(wrong)}; add keywords or correct the encoding"
            )
        return self

    def packaged_split(self) -> dict[str, list[str]]:
        """Section -> case names of the split file that comes with the card; empty without one."""
        if self.split.file is None:
            return {}
        return yaml.safe_load(SPLITS.joinpath(self.split.file).read_text(encoding="utf-8"))


def card_names() -> list[str]:
    """Names of the cards that come with the package, sorted."""
    names = (entry.name for entry in CARDS.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@lru_cache
def load_card(name: str) -> DatasetCard:
    """Read a card.

    Args:
        name: one of `card_names` (case and - or _ do not matter), or the path of a card of one's own.

    Raises:
        ValueError: no such card, or a card with missing or unknown entries.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        text, stem = path.read_text(encoding="utf-8"), path.stem
    else:
        stem = name.lower().replace("-", "_").replace(" ", "_")
        if stem not in card_names():
            raise ValueError(
                f"Expected a data set card out of {', '.join(card_names())}, or the path of a card"
                f" file (.yaml), got '{name}'. Correct the name."
            )
        text = CARDS.joinpath(f"{stem}.yaml").read_text(encoding="utf-8")
    try:
        return DatasetCard(name=stem, **yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise ValueError(
            f"Expected a complete data set card in '{name}', got: {error}. Compare it with a card"
            " of the package."
        ) from error
