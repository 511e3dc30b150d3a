"""Concepts in an annotator's own words, in place of the measured ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fastapi import HTTPException

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


def sent_corrections(
    info: Mapping[str, Any], keywords: Sequence[str]
) -> tuple[Corrections, str | None]:
    """Corrections sent along with a label, and what is wrong with them.

    The label is saved already, so a slip is told, not refused.
    """
    text = info.get("concepts")
    if not isinstance(text, str) or not text.strip():
        return {}, None
    try:
        return read_corrections(text, keywords), None
    except HTTPException as error:
        return {}, str(error.detail)


def correction_text(request: Mapping[str, Any]) -> str | None:
    """The text option `concepts` of a strategy, None where it is empty."""
    text = request.get("concepts")
    text = text[0] if isinstance(text, list) and text else text
    return str(text) if text and str(text).strip() else None


def corrected_case(
    text: str, client: str, images: Collection[str], events: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str]:
    """The image that a text is about, which it names or this client saved last, and what it says.

    Args:
        text: as the client sent it.
        client: name.
        images: all of the studies.
        events: image -> its newest saved label in the record.

    Raises:
        HTTPException: 400 for an image without a label.
    """
    image, said = split_case(text, images)
    image = image or last_saved_by(client, events)
    if image not in events:
        raise bad_request(
            "Expected 'concepts' for an image with a saved label, got none saved by this client"
            f"{f' as {image!r}' if image else ''}; save the label first, then press Next Sample."
        )
    return image, said


def last_saved_by(client: str, events: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The image a client saved last."""
    mine = {image: e["time"] for image, e in events.items() if e["client"] == client}
    return max(mine, key=mine.__getitem__) if mine else None


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
