"""The question put to a multimodal model, and the check of its answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model

from .descriptors import UNCLEAR

# What is shown in each view, in words.
VIEWS = {
    "crop": "The picture is a close-up of one {keyword} region and its surroundings.",
    "outline": "The picture is a whole medical image; the {keyword} region is outlined in {colour}.",
    "roi": "The picture is a medical image of which all but the {keyword} region is blacked out.",
}
OUTLINE = ("cyan", (0, 255, 255))  # a colour that tissue does not have
_HINTS = {
    "number": "how many separate {keyword} regions there are",
    "location": "where in the whole picture it lies",
    "shape": "its outline",
    "size": "how much of the picture it covers",
    "color": "its main colour",
    "texture": "its surface",
    "margin": "its border",
    "pattern": "its inner pattern",
    "echo": "its echo against the surrounding tissue",
    "density": "its density against the surrounding tissue",
}


class Question:
    """One question with closed answers.

    Args:
        keyword: name of the class.
        lists: attribute -> the values it may have.
        view: which picture is shown, out of `VIEWS`.
        allow_unclear: the model may say that it cannot tell.

    Attributes:
        text: the words put to the model.
        schema: JSON schema of the answer.
        hash: of the words and the schema, 12 hexadecimal digits.

    Raises:
        ValueError: an unknown view, or nothing to ask.
    """

    def __init__(
        self,
        keyword: str,
        lists: Mapping[str, Sequence[str]],
        view: str = "crop",
        allow_unclear: bool = True,
    ) -> None:
        if view not in VIEWS or not lists:
            raise ValueError(f"expected a view of {list(VIEWS)} and lists, got {view!r}, {lists}")
        self.view = view
        extra = (UNCLEAR,) if allow_unclear else ()
        self.lists = {name: (*values, *extra) for name, values in lists.items()}
        self.model = _answer_model(self.lists)
        self.schema = self.model.model_json_schema()
        self.text = self._words(keyword, allow_unclear)
        content = self.text + json.dumps(self.schema, sort_keys=True)
        self.hash = hashlib.sha256(content.encode()).hexdigest()[:12]

    def _words(self, keyword: str, allow_unclear: bool) -> str:
        """The question in words; it names the lists, for servers that do not enforce the schema."""
        shown = VIEWS[self.view].format(keyword=keyword, colour=OUTLINE[0])
        lines = [
            f'- "{name}" ({_HINTS.get(name, "its " + name).format(keyword=keyword)}): '
            + ", ".join(values)
            for name, values in self.lists.items()
        ]
        unsure = f' Answer "{UNCLEAR}" where the picture does not show it.' if allow_unclear else ""
        return (
            f"{shown} Describe the {keyword} region. Answer with one JSON object that has exactly"
            " these keys, each with one of the listed words:\n" + "\n".join(lines) + "\n"
            f"Judge only what is visible.{unsure} Give the JSON object and nothing else."
        )

    def read(self, answer: str) -> dict[str, str]:
        """Values of a valid answer; text around the JSON object is tolerated.

        Raises:
            ValueError: what is wrong with the answer, in words the model can be told.
        """
        found = re.search(r"\{.*\}", answer, flags=re.DOTALL)
        if found is None:
            raise ValueError("there is no JSON object in the answer")
        try:
            return self.model.model_validate_json(found[0]).model_dump()
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, e['loc'])) or 'JSON'}: {e['msg']}" for e in error.errors()[:5]
            ]
            raise ValueError("; ".join(problems)) from error


def _answer_model(lists: Mapping[str, Sequence[str]]) -> type[BaseModel]:
    """Pydantic model of an answer: every key once, each with a word of its list."""
    tidy = BeforeValidator(lambda v: v.strip().lower() if isinstance(v, str) else v)
    fields: dict[str, Any] = {
        name: (Annotated[Literal[tuple(values)], tidy], ...) for name, values in lists.items()
    }
    return create_model("Answer", __config__=ConfigDict(extra="forbid"), **fields)
