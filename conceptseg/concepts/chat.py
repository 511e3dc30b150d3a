"""What a multimodal model is to the sources: a picture and a question in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from .questions import Question


@dataclass(frozen=True)
class Turn:
    """An earlier answer that did not pass, and what the model is told about it."""

    answer: str
    problem: str

    def complaint(self) -> str:
        """The words with which the model is asked again."""
        return (
            f"This answer is not valid: {self.problem}. Answer again: one JSON object with exactly"
            " the keys asked for, each with one of the listed words, and nothing else."
        )


class ModelError(RuntimeError):
    """The model could not be asked, or did not answer validly; the message says why."""


class ServerDownError(ModelError):
    """The server cannot be reached at all: asking about the next case would fail as well."""


class Chat(Protocol):
    """A multimodal model.

    Attributes:
        name: of the model, kept with every value.
    """

    name: str

    def ask(self, picture: Image.Image, question: Question, earlier: tuple[Turn, ...] = ()) -> str:
        """The model's answer, as it is.

        Args:
            picture: RGB.
            question: to ask.
            earlier: answers to the same question that did not pass.

        Raises:
            ModelError: no answer.
        """

    def enforces_schema(self) -> bool:
        """Whether a probe shows that answers cannot leave the schema."""
