"""A description with its provenance: every value knows who said it, and in which words."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .descriptors import UNCLEAR
from .schema import ATTRIBUTES, Concepts

Source = Literal["measured", "model", "table", "person"]


class Answer(BaseModel):
    """What a model answered to one question about one view.

    Attributes:
        view: name of the picture shown.
        model: its name.
        prompt_hash: of the question: words, closed lists and settings of the view.
        raw: the answer that passed validation, word for word.
        values: attribute -> value, as validated.
        rejected: earlier answers that did not pass, word for word.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: str
    model: str
    prompt_hash: str
    raw: str
    values: dict[str, str]
    rejected: tuple[str, ...] = ()


class Value(BaseModel):
    """One attribute's value.

    Attributes:
        value: of the closed list; `UNCLEAR` where nobody can tell; a number of objects is an int.
        source: who said it.
        confidence: share of the views that agree, 0..1; None with a single view, or when measured.
        model: of a model's value.
        prompt_hash: of a model's value.
        raw: of a model's value, view -> what it said there; of a table's, the text of the cell.
        by: of a person's value, who; as the person wants to be named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int | str
    source: Source
    confidence: float | None = Field(default=None, ge=0, le=1)
    model: str | None = None
    prompt_hash: str | None = None
    raw: dict[str, str] = {}
    by: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether it says something."""
        return self.value != UNCLEAR


class Description(BaseModel):
    """All that is known of the objects of one class in one image.

    Attributes:
        keyword: of the class.
        values: attribute or descriptor -> value.
        answers: of a model, in the order of the views.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyword: str
    values: dict[str, Value] = {}
    answers: tuple[Answer, ...] = ()

    def concepts(self) -> Concepts:
        """The attributes of `Concepts` that are clear."""
        clear = {k: v.value for k, v in self.values.items() if k in ATTRIBUTES and v.is_clear}
        return Concepts(keyword=self.keyword, **clear)

    def descriptors(self) -> dict[str, str]:
        """The descriptors that are clear, such as {"texture": "smooth"}."""
        return {
            k: str(v.value) for k, v in self.values.items() if k not in ATTRIBUTES and v.is_clear
        }


def described(concepts: Concepts, source: Source = "measured") -> Description:
    """Concepts as a description whose values all come from one source."""
    known = concepts.model_dump(exclude={"keyword"}, exclude_none=True)
    values = {name: Value(value=value, source=source) for name, value in known.items()}
    return Description(keyword=concepts.keyword, values=values)
