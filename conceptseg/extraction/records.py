"""The lines of a concept file (JSONL): one thing that happened to one label of one case."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..concepts.described import Answer, Description, Value


class _Line(BaseModel):
    """What every line has.

    Attributes:
        case: path of the image below the data set's folder, with forward slashes.
        keyword: name of the class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    keyword: str


class AnswerLine(_Line):
    """A model's answer, written as it arrives so that a stopped run need not ask again."""

    kind: Literal["answer"] = "answer"
    answer: Answer


class ConceptLine(_Line):
    """The description of a label.

    Attributes:
        description: values with their provenance.
        fraction: share of the image that the mask covers; None if the mask was not seen.
        settings: hash of the source's settings; another one means that it is to be asked again.
    """

    kind: Literal["concepts"] = "concepts"
    description: Description
    fraction: float | None = None
    settings: str = ""


class FailureLine(_Line):
    """Why there is no description; asked again in the next run."""

    kind: Literal["failure"] = "failure"
    reason: str


class CorrectionLine(_Line):
    """A person's values; they override every other line, earlier or later."""

    kind: Literal["correction"] = "correction"
    values: dict[str, Value]


Line = Annotated[
    AnswerLine | ConceptLine | FailureLine | CorrectionLine, Field(discriminator="kind")
]
LINE = TypeAdapter(Line)
