"""Concepts asked of a multimodal model; a `ConceptSource` like the measured ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .chat import Chat, ModelError, Turn
from .described import Answer, Description, Value, described
from .descriptors import UNCLEAR
from .measured import MeasuredConcepts
from .questions import Question
from .schema import MANY, Concepts
from .views import view_picture

ATTEMPTS = 3  # at a valid answer: the first, and two with the validation error told


class ModelConcepts:
    """Asks the same question about each view; views that disagree make a value unclear.

    Args:
        chat: the model.
        lists: attribute -> words it may answer (`questions_of`).
        views: pictures shown, each in a request of its own.
        allow_unclear: the model may say that it cannot tell.
        margin: of the crop, share of the bounding box's longer side.
    """

    def __init__(
        self,
        chat: Chat,
        lists: Mapping[str, Sequence[str]],
        views: Sequence[str] = ("crop", "outline"),
        allow_unclear: bool = True,
        margin: float = 0.25,
    ) -> None:
        self.chat = chat
        self.lists = {name: tuple(values) for name, values in lists.items()}
        self.views = tuple(views)
        self.allow_unclear = allow_unclear
        self.margin = margin
        self.questions("region")  # an unknown view is refused here

    def questions(self, keyword: str) -> list[Question]:
        """One question per view."""
        return [Question(keyword, self.lists, view, self.allow_unclear) for view in self.views]

    def settings(self, keyword: str) -> str:
        """Hash of all that shapes the answers: model, questions, margin."""
        parts = [self.chat.name, *(q.hash for q in self.questions(keyword)), str(self.margin)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
    ) -> Concepts:
        """Describe the objects of one class; see `ConceptSource`."""
        return self.describe(image, mask, keyword, axes, spacing).concepts()

    def describe(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
        known: Sequence[Answer] = (),
        keep: Callable[[Answer], None] | None = None,
    ) -> Description:
        """Describe with provenance.

        Args:
            image, mask, keyword, axes, spacing: see `ConceptSource`.
            known: answers of an earlier, stopped run; what they answer is not asked again.
            keep: called with every new answer as it arrives.

        Raises:
            ModelError: no valid answer for some view.
        """
        if not np.any(mask):
            return described(Concepts(keyword=keyword, number=0))
        answers = []
        for question in self.questions(keyword):
            answer = _find(known, question, self.chat.name)
            if answer is None:
                picture = view_picture(image, mask, axes, question.view, spacing, self.margin)
                answer = self._ask(picture, question)
                if keep is not None:
                    keep(answer)
            answers.append(answer)
        values = {name: agree(name, answers) for name in self.lists}
        return Description(keyword=keyword, values=values, answers=tuple(answers))

    def _ask(self, picture, question: Question) -> Answer:
        """Ask until an answer passes, telling the model what is wrong."""
        turns: tuple[Turn, ...] = ()
        for _ in range(ATTEMPTS):
            raw = self.chat.ask(picture, question, turns)
            try:
                values = question.read(raw)
            except ValueError as error:
                turns = (*turns, Turn(raw[:2000], str(error)))
                continue
            return Answer(
                view=question.view,
                model=self.chat.name,
                prompt_hash=question.hash,
                raw=raw,
                values=values,
                rejected=tuple(turn.answer for turn in turns),
            )
        said = " ".join(turns[-1].answer.split())[:120]
        raise ModelError(
            f"no valid answer in {ATTEMPTS} attempts ({question.view}); the last was {said!r}:"
            f" {turns[-1].problem[:200]}"
        )


class FusedConcepts:
    """Measures what the mask tells and asks a model for the rest; a `ConceptSource`.

    Where the model cannot tell the colour, the measured one stands.

    Args:
        model: source of colour and descriptors.
        measured: source of the rest.
    """

    def __init__(self, model: ModelConcepts, measured: MeasuredConcepts | None = None) -> None:
        self.model = model
        self.measured = measured or MeasuredConcepts()

    def settings(self, keyword: str) -> str:
        """Hash of all that shapes the descriptions."""
        return f"fused {self.model.settings(keyword)}"

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
    ) -> Concepts:
        """Describe the objects of one class; see `ConceptSource`."""
        return self.describe(image, mask, keyword, axes, spacing).concepts()

    def describe(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
        known: Sequence[Answer] = (),
        keep: Callable[[Answer], None] | None = None,
    ) -> Description:
        """Describe with provenance; see `ModelConcepts.describe`."""
        seen = described(self.measured(image, mask, keyword, axes, spacing))
        if not np.any(mask):
            return seen
        asked = self.model.describe(image, mask, keyword, axes, spacing, known, keep)
        return fuse(seen, asked)


def fuse(measured: Description, asked: Description) -> Description:
    """One description of two: measured values stand, but for a colour that the model is clear about."""
    values = dict(measured.values)
    for name, value in asked.values.items():
        if name not in values or (name == "color" and value.is_clear):
            values[name] = value
    return Description(keyword=measured.keyword, values=values, answers=asked.answers)


def agree(name: str, answers: Sequence[Answer]) -> Value:
    """The value that more than half of the views give, or unclear; the share that agrees is its confidence.

    Args:
        name: of the attribute.
        answers: one per view, at least one.
    """
    said = {answer.view: answer.values[name] for answer in answers}
    word, count = Counter(said.values()).most_common(1)[0]
    share = count / len(said)
    value = word if share > 0.5 else UNCLEAR
    return Value(
        value=_number(value) if name == "number" else value,
        source="model",
        confidence=share if len(said) > 1 else None,
        model=answers[0].model,
        prompt_hash="+".join(answer.prompt_hash for answer in answers),
        raw=said,
    )


def _number(word: str) -> int | str:
    """A number of objects from its bin."""
    if word == UNCLEAR:
        return word
    return MANY if word == "many" else int(word)


def _find(known: Sequence[Answer], question: Question, model: str) -> Answer | None:
    """The answer to a question among those known."""
    same = (question.view, question.hash, model)
    return next((a for a in known if (a.view, a.prompt_hash, a.model) == same), None)
