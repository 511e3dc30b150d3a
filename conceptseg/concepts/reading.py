"""Free words for one attribute, as a table or a model without a schema gives them, to its value."""

from __future__ import annotations

from functools import lru_cache

from .parsing import parse_prompt
from .schema import ATTRIBUTES
from .wording import MAX_NUMBER

_THING = "thing"  # stands for the keyword while one attribute is read
_FORMS = {"location": f"{_THING} in the {{}}", "laterality": f"{_THING} on the {{}} side"}
_FORMS["level"] = f"{_THING} at the {{}} level"


@lru_cache(maxsize=4096)
def read_value(attribute: str, text: str) -> int | str:
    """Value of an attribute from its words: synonyms are understood, "lower right corner" is a place.

    Args:
        attribute: of `ATTRIBUTES`.
        text: one value, such as "circle" for the shape.

    Returns:
        A number of objects, or a word of the closed list.

    Raises:
        ValueError: an unknown attribute; words that say nothing about it, or something else too.
    """
    if attribute not in ATTRIBUTES:
        raise ValueError(f"expected an attribute out of {list(ATTRIBUTES)}, got {attribute!r}")
    text = text.strip()
    if attribute == "number":
        if text.isdecimal() and int(text) <= MAX_NUMBER and str(int(text)) == text:
            return int(text)
        raise ValueError(f"expected a number of objects, 0 to {MAX_NUMBER}, got {text!r}")
    parsed = None
    if attribute == "location":  # "left side" is a place here, not a side of the patient
        text = text.replace(" side", "")
    if len(text) <= 100 and text:
        parsed = parse_prompt(_FORMS.get(attribute, f"{{}} {_THING}").format(text), [_THING])
    value = getattr(parsed.concepts, attribute) if parsed and parsed.concepts else None
    if value is None or parsed.unknown_words:
        raise ValueError(f"expected words for the {attribute}, got {text!r}")
    others = parsed.concepts.model_dump(exclude={"keyword", attribute}, exclude_none=True)
    if others:
        raise ValueError(f"expected words for the {attribute} alone, got {text!r}")
    return value
