"""Concepts in an annotator's own words, in place of the measured ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from conceptseg.concepts import parse_prompt

from .problems import bad_request

Corrections = dict[str, dict[str, Any]]  # label name -> attribute -> value


def read_corrections(text: Any, keywords: Sequence[str]) -> Corrections:
    """What a text such as "oval polyp" or "small anterior hippocampus; large posterior hippocampus" says.

    Args:
        text: sentences separated by semicolons; each names its label where there are several.
        keywords: label names.

    Raises:
        HTTPException: 400 for words outside the vocabulary, or a sentence that fits no label.
    """
    if not isinstance(text, str):
        raise bad_request(f"Expected 'concepts' as text, got {text!r}; write them in words.")
    result: Corrections = {}
    for sentence in filter(None, (part.strip() for part in text.split(";"))):
        try:
            parsed = parse_prompt(sentence, keywords)
        except ValueError as error:
            raise bad_request(str(error)) from error
        if parsed.unknown_words:
            raise bad_request(
                f"Expected concepts in known words, got {', '.join(parsed.unknown_words)} in"
                f" {sentence!r}; {'; '.join(parsed.warnings)}"
            )
        if parsed.concepts is None or len(parsed.keywords) > 1:
            raise bad_request(
                f"Expected one label and what is seen of it, got {sentence!r}; write for example"
                f" 'small round {keywords[0]}' and separate labels by semicolons."
            )
        said = parsed.concepts.model_dump(exclude={"keyword"}, exclude_none=True)
        if said:
            result.setdefault(parsed.concepts.keyword, {}).update(said)
    return result


def merge_corrections(older: Corrections, newer: Corrections) -> Corrections:
    """What was corrected before and is said now; the newer word for the same thing counts."""
    names = older.keys() | newer.keys()
    return {name: {**older.get(name, {}), **newer.get(name, {})} for name in sorted(names)}


def split_case(text: str, images: Collection[str]) -> tuple[str | None, str]:
    """The image a text is about and the rest: "case_7: oval polyp"; (None, text) without a name."""
    name, colon, rest = text.partition(":")
    if colon and name.strip() in images:
        return name.strip(), rest.strip()
    if colon:
        raise bad_request(
            f"Expected an image of the studies before the colon, got {name.strip()!r}; correct it"
            " or leave it out for the image saved last."
        )
    return None, text.strip()


def corrections_json(corrections: Corrections) -> str:
    """As a training case carries them; see `ConceptPromptd`."""
    return json.dumps(corrections, sort_keys=True)
